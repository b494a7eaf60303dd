"""The options of ``train``, made of the fields of ``TrainingConfig``."""

from collections.abc import Callable
from dataclasses import Field, dataclass, fields
from typing import Any

from model.config.options import option_text
from model.config.paper_recipes import PAPER_RECIPES
from model.config.training_config import TrainingConfig
from model.model_names import OPAL


@dataclass(frozen=True)
class TrainingOption:
    """An option of ``python -m model train``.

    Attributes:
        name: Of the field.
        parse: Text to value; raises ValueError.
        help: What it is, and its value in each recipe of OPAL.
    """

    name: str
    parse: Callable[[str], Any]
    help: str


def _describe(each: Field[Any]) -> TrainingOption:
    default, paper = each.default, PAPER_RECIPES[OPAL].get(each.name, each.default)
    values = f"default: {option_text(default)}"
    if paper != default:
        values += f", paper: {option_text(paper)}"
    choices = each.metadata.get("choices")
    text = each.metadata["help"] + (f": {' or '.join(choices)}" if choices else "")
    return TrainingOption(each.name, each.metadata["parse"], f"{text} ({values})")


TRAINING_OPTIONS = {
    each.name: _describe(each) for each in fields(TrainingConfig) if "parse" in each.metadata
}
