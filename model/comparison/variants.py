"""What is changed in a training for a study: other k, a loss or a lever of the recipe left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model.config.loss_weights import LossWeights
from model.config.paper_recipes import PAPER_RECIPES
from model.config.training_config import Recipe
from model.model_names import OPAL

MAIN_NAME = "main"


@dataclass(frozen=True)
class Variant:
    """Options that differ from the recipe's.

    Attributes:
        name: Part of a path.
        label: For tables.
        options: Fields of ``TrainingConfig``.
    """

    name: str
    label: str
    options: Mapping[str, Any] = field(default_factory=dict)


MAIN = Variant(MAIN_NAME, "as it is")


def variant_of_k(k: int) -> Variant:
    """Return the variant with k interests."""
    return Variant(f"k-{k}", f"k = {k}", {"k": k})


_OF_BOTH = (
    Variant(
        "no-orthogonality", "no orthogonality loss", {"loss_weights": LossWeights(orthogonality=0)}
    ),
    Variant("no-uniformity", "no uniformity loss", {"loss_weights": LossWeights(uniformity=0)}),
    Variant("no-unique", "no unique loss", {"loss_weights": LossWeights(unique=0)}),
    Variant("next-item", "next item instead of future items", {"positives": "next"}),
)


def _lever(name: str, label: str, *options: str) -> Variant:
    """Take back what the default recipe does otherwise than the paper: options have its values."""
    paper = PAPER_RECIPES[OPAL]
    return Variant(name, label, {option: paper[option] for option in options})


_OF_DEFAULT = (
    _lever("random-start", "random start instead of PMI vectors", "start"),
    _lever("one-positive", "one positive, from the whole future", "positives", "horizon"),
    _lever("whole-future", "horizon is the whole future", "horizon"),
    _lever("min-cut-3", "at least 3 interactions before the cut", "min_cut"),
    _lever("even-cuts", "cuts drawn evenly", "cut_draws"),
    _lever("no-neighbours", "item vectors know no neighbours", "neighbours"),
    _lever("no-history-dropout", "no history dropout", "history_dropout"),
    _lever("even-negatives", "B negatives drawn evenly", "negatives"),
    _lever("fixed-temperature", "temperature of scores not learned", "learn_temperature"),
    _lever("softer-assignment", "assignment temperature 0.1", "assignment_temperature"),
    _lever("no-sharing", "interests share nothing of the history", "sharing"),
    _lever("no-recency", "age of interactions does not count", "learn_recency"),
    _lever(
        "half-evolution",
        "evolved interest counts half, not learned",
        "evolution",
        "learn_evolution",
    ),
    _lever("full-rate", "hard stage at the full step size", "fine_tuning_rate"),
    _lever("no-general", "no general interest", "general"),
    Variant("no-attention", "general interest by the GRU alone", {"attention": False}),
    Variant("no-next-item", "general interest learns by future items alone", {"next_item": 0.0}),
    _lever("no-popularity", "popularity does not count in scores", "popularity"),
    Variant("no-averaging", "weights not averaged", {"averaging": 0.0}),
    _lever("dim-64", "d = 64", "dim"),
)


def ablations(recipe: Recipe) -> tuple[Variant, ...]:
    """Return what is taken from OPAL, one thing at a time."""
    return (*_OF_BOTH, *_OF_DEFAULT) if recipe == "default" else _OF_BOTH
