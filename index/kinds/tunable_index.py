"""The seam of whoever makes an index: to tune, write and change it, besides searching."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from index.search.item_index import ItemIndex
from model.arrays import Floats, Mask

RESCORING = "rescoring"
"""Parameter of several kinds: how many times the answers wanted are scored with the vectors."""


class TunableIndex(ItemIndex, Protocol):
    """An index of a bundle: ``index.kinds.implementations`` builds and opens it.

    Attributes:
        factory: What it was made from, in the words of the library behind it.
        parameters: Its operating point, by name.
    """

    factory: str
    parameters: dict[str, float]

    def operating_points(self, n: int) -> Iterator[dict[str, float]]:
        """Enumerate the operating points worth measuring, those that take the least time first.

        Args:
            n: Answers per query that they will be measured with.

        Yields:
            The same names each time, each value as much effort as before or more; ``{}`` alone
            where there is nothing to tune.
        """

    def operate_at(self, parameters: Mapping[str, float]) -> None:
        """Change the operating point. For whoever tunes or opens: not while others search.

        Raises:
            ValueError: There is no such parameter, or no such value.
        """

    def bytes_per_item(self, file_bytes: int) -> float:
        """Return the bytes of memory that one item takes.

        Args:
            file_bytes: Size of the saved index.
        """

    def save(self, path: Path) -> None:
        """Write the index to a file.

        Raises:
            InputError: It cannot be written, on a full disk for example.
        """

    def with_added(self, item_vectors: Floats) -> "TunableIndex":
        """Return an index that holds more items. This one is used up.

        Args:
            item_vectors: All vectors, the new ones after those that are there already.
                Shape (n_items, d), float32.

        Raises:
            InputError: This kind cannot grow.
        """

    def with_only(self, item_vectors: Floats, kept: Mask) -> "TunableIndex":
        """Return an index without some items; those behind them move up. This one is used up.

        Args:
            item_vectors: Those that stay. Shape (n_kept, d), float32.
            kept: True for the rows that stay. Shape (n_items,), bool.

        Raises:
            InputError: This kind cannot be filled again.
        """


def fitting(grid: Sequence[float], least: float, most: float) -> list[float]:
    """Leave out of a grid what is below or above what makes sense, but never all of it."""
    return [value for value in grid if least <= value <= most] or [most]
