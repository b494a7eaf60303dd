"""docs/comparison.md says of the recipes what they are."""

from pathlib import Path

import pytest

from model.comparison.results import RECONSTRUCTED
from model.comparison.varied_lists import SOME_USERS
from model.config.training_config import TrainingConfig
from model.model_names import TRAINABLE_MODELS

DOCS = (Path(__file__).parents[4] / "docs/comparison.md").read_text()
ROWS = {
    "d": "dim",
    "k of multi-interest models": "k",
    "length of history L": "max_len",
    "batch": "batch_size",
    "interactions before the cut, where there are more": "min_cut",
    "negatives": "n_negatives",
    "step size": "learning_rate",
    "weight decay": "weight_decay",
    "patience": "patience",
}


def columns(row: str) -> list[str]:
    (line,) = [line for line in DOCS.splitlines() if line.startswith(f"| {row} |")]
    return [field.strip() for field in line.strip("|").split("|")][1:]


def text(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) or value >= 1e-3 or not value else f"{value:.0e}"


@pytest.mark.parametrize(("row", "option"), ROWS.items())
def test_the_values_of_the_recipes_are_said(row: str, option: str) -> None:
    default, paper = columns(row)
    values = {
        getattr(TrainingConfig.for_recipe("paper", model=model), option)
        for model in TRAINABLE_MODELS
    }

    for value in values - {None}:
        assert text(value).removesuffix(".0").replace("1e-04", "1e-4") in paper
    if (own := getattr(TrainingConfig(), option)) is not None:
        assert text(own).removesuffix(".0") in default


def test_every_model_is_in_the_table_of_what_was_kept() -> None:
    kept = DOCS.split("## What each paper prescribes")[1].split("\n## ")[0].lower()

    for model in TRAINABLE_MODELS:
        assert f"\n| {model}, " in kept
    for model in RECONSTRUCTED:
        assert f"{model} is a reconstruction" in DOCS.lower()


def test_of_how_many_users_interests_and_variety_are_measured() -> None:
    assert DOCS.count(f"{SOME_USERS:,} users") == 3
