"""What every yardstick can do."""

from collections.abc import Sequence
from typing import Any, Protocol

from model.arrays import Floats, Rows


class Baseline(Protocol):
    """A model that is determined by its training matrix and a few numbers; nothing is drawn."""

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        """All that determines it besides its data, as JSON types."""

    def scores(self, histories: Sequence[Rows]) -> Floats:
        """Score all items for a batch of users; larger is better.

        Args:
            histories: Each user's item rows. Neither order nor repetition counts.

        Returns:
            A new array. Shape (batch, n_items), float32.
        """
