"""Whether an encoder's item vectors have the length that ``model.popularity`` gives them."""

import math
from typing import Any


def reads_popularity(settings: dict[str, Any]) -> bool:
    """Tell by what the encoder's file says besides tensors.

    Raises:
        ValueError: The exponent is none.
    """
    exponent = settings.get("popularity", 0.0)
    if type(exponent) not in (int, float) or not 0 <= exponent < math.inf:
        raise ValueError(f"popularity is {exponent!r}, expected a number from 0")
    return bool(exponent)
