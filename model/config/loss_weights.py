"""How much each of OPAL's losses counts beside the prediction."""

from dataclasses import dataclass

from model.config.options import MAX_VALUE
from model.errors import InputError


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the losses' sum (arXiv 2407.14741: losses).

    Raises:
        InputError: A weight is negative or no number.
    """

    orthogonality: float = 10.0
    uniformity: float = 1.0
    unique: float = 1.0  # stage 2 only

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            if not 0 <= weight <= MAX_VALUE:
                raise InputError(
                    f"the weight of the {name} loss is {weight}; expected 0 to {MAX_VALUE}"
                )
