"""Columns of texts and of lists in two flat arrays each, so that they can be memory-mapped."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.arrays import Rows
from model.tensor_files import Tensors

# A text that came in over JSON may hold half a surrogate pair, which plain UTF-8 refuses.
ERRORS = "surrogatepass"


class TextColumn:
    """Texts by row, mapped. ``values`` (UTF-8 bytes, uint8) and ``offsets`` (n + 1, int64)."""

    def __init__(self, tensors: Tensors, name: str) -> None:
        self._bytes = memoryview(tensors[f"{name}.values"].data)
        self._offsets: Rows = tensors[f"{name}.offsets"]

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def take(self, rows: Rows) -> list[str]:
        """Return the texts of these rows. Shape (n,), int64."""
        return [each.decode("utf-8", ERRORS) for each in self.take_bytes(rows)]

    def take_bytes(self, rows: Rows) -> list[bytes]:
        """Return the texts of these rows as they lie in the file, UTF-8. Shape (n,), int64."""
        begins, ends = self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()
        data = self._bytes
        return [data[begin:end].tobytes() for begin, end in zip(begins, ends, strict=True)]


class ListColumn:
    """Lists of numbers by row, mapped. ``values`` (flat) and ``offsets`` (n + 1, int64)."""

    def __init__(self, tensors: Tensors, name: str) -> None:
        self._values: NDArray[Any] = tensors[f"{name}.values"]
        self._offsets: Rows = tensors[f"{name}.offsets"]

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        """Return the list of one row, a view."""
        return self._values[self._offsets[row] : self._offsets[row + 1]]


def text_tensors(name: str, texts: Iterable[str]) -> Tensors:
    """Make the arrays of a ``TextColumn``."""
    encoded = [text.encode("utf-8", ERRORS) for text in texts]
    return {
        f"{name}.values": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        f"{name}.offsets": _offsets([len(each) for each in encoded]),
    }


def list_tensors(name: str, lists: Sequence[NDArray[Any]], dtype: type[np.integer[Any]]) -> Tensors:
    """Make the arrays of a ``ListColumn``."""
    flat = np.concatenate(lists) if lists else np.empty(0)
    return {
        f"{name}.values": flat.astype(dtype),
        f"{name}.offsets": _offsets([len(each) for each in lists]),
    }


def _offsets(lengths: list[int]) -> Rows:
    return np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))).astype(np.int64)
