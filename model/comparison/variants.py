"""What is changed in a training for a study: other k, a loss or a lever of the recipe left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model.config import LossWeights, Recipe

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

# Each takes back one thing that the default recipe does otherwise than the paper.
_OF_DEFAULT = (
    Variant("random-start", "random start instead of PMI vectors", {"start": "random"}),
    Variant(
        "one-positive",
        "one positive drawn from the whole future",
        {"positives": "one", "horizon": 1.0},
    ),
    Variant("whole-future", "horizon is the whole future", {"horizon": 1.0}),
    Variant("later-cuts", "at least 3 interactions before the cut", {"min_cut": 3}),
    Variant("no-history-dropout", "no history dropout", {"history_dropout": 0.0}),
    Variant("even-negatives", "negatives drawn evenly", {"negatives": "even"}),
    Variant("fixed-temperature", "temperature not learned", {"learn_temperature": False}),
    Variant("softer-assignment", "assignment temperature 0.1", {"assignment_temperature": 0.1}),
    Variant("no-sharing", "no share of the whole history in interests", {"sharing": 0.0}),
    Variant("no-recency", "age of interactions does not count", {"learn_recency": False}),
    Variant(
        "half-evolution",
        "evolved interest counts half, not learned",
        {"evolution": 0.5, "learn_evolution": False},
    ),
    Variant("no-averaging", "weights not averaged", {"averaging": 0.0}),
    Variant("dim-64", "d = 64", {"dim": 64}),
)


def ablations(recipe: Recipe) -> tuple[Variant, ...]:
    """Return what is taken from OPAL, one thing at a time."""
    return (*_OF_BOTH, *_OF_DEFAULT) if recipe == "default" else _OF_BOTH
