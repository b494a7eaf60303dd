"""Most popular: the same list for everybody, by training interactions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from model.arrays import Floats, Rows


class Popular:
    """Scores an item by how many others have fewer interactions.

    Ranks, not counts, so that ties go by item row, as they do in the service's fallback.

    Args:
        interactions: Of each item in training. Shape (n_items,), int64.
    """

    def __init__(self, interactions: Rows) -> None:
        best_first = np.argsort(-interactions, kind="stable")
        self._ranks = np.empty(len(interactions), dtype=np.float32)
        self._ranks[best_first] = np.arange(len(interactions), 0, -1)

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        """None."""
        return {}

    def scores(self, histories: Sequence[Rows]) -> Floats:
        """See ``Baseline``."""
        return np.tile(self._ranks, (len(histories), 1))
