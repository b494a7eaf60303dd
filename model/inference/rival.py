"""What the rivals' encoders share in NumPy: cutting, empty histories, unit length, checked files.

A rival's own module says how the vectors of a history become k interests. Histories are encoded
one by one, so that a result is the same to the last bit whatever else is in the batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from model.arrays import Floats, Rows
from model.inference.arithmetic import normalise
from model.inference.encoder import Interests
from model.inference.lengths import ITEM_LENGTH, without_lengths
from model.inference.reading import read_count, read_tensor
from model.tensor_files import Tensors


class Encoded(NamedTuple):
    """What a rival makes of one history.

    Attributes:
        vectors: Interests, not yet of unit length. Shape (k, d), float32.
        assignment: Share of each interaction that each interest holds: attention or routing
            weights, at least 0; each row sums to 1. Shape (length, k), float32.
    """

    vectors: Floats
    assignment: Floats


class RivalInferenceEncoder(ABC):
    """A ``UserEncoder`` over a table of item vectors.

    Args:
        item_vectors: e. Shape (n_items, d), float32.
        n_interests: k.
        max_len: L, interactions used from the end of a history.
        unit_vectors: Interests are scaled to unit length, as ``item_vectors`` already are but for
            ``item_lengths``.
        item_lengths: What item vectors were multiplied by (``model.inference.lengths``).
            Shape (n_items,), float32. None: nothing.
    """

    def __init__(
        self,
        *,
        item_vectors: Floats,
        n_interests: int,
        max_len: int,
        unit_vectors: bool,
        item_lengths: Floats | None = None,
    ) -> None:
        self._item_vectors = item_vectors
        self._n_interests = n_interests
        self._max_len = max_len
        self._unit_vectors = unit_vectors
        self._item_lengths = item_lengths

    @property
    def item_vectors(self) -> Floats:
        """See ``UserEncoder.item_vectors``."""
        return self._item_vectors

    @property
    def item_lengths(self) -> Floats | None:
        """See ``UserEncoder.item_lengths``."""
        return self._item_lengths

    @property
    def unit_vectors(self) -> bool:
        """See ``UserEncoder.unit_vectors``."""
        return self._unit_vectors

    @property
    def hyper_categories(self) -> Floats | None:
        """See ``UserEncoder.hyper_categories``; rivals have none."""
        return None

    @property
    def n_interests(self) -> int:
        """See ``UserEncoder.n_interests``."""
        return self._n_interests

    @property
    def dim(self) -> int:
        """See ``UserEncoder.dim``."""
        return int(self._item_vectors.shape[1])

    @property
    def max_len(self) -> int:
        """See ``UserEncoder.max_len``."""
        return self._max_len

    def history_vectors(self, rows: Rows) -> Floats:
        """See ``UserEncoder.history_vectors``."""
        return without_lengths(self._item_vectors[rows], self._item_lengths, rows)

    @abstractmethod
    def encode_vectors(self, vectors: Floats) -> Encoded:
        """Encode the vectors of one history.

        Args:
            vectors: e of its interactions, oldest first, 1 to ``max_len`` of them.
                Shape (length, d), float32.
        """

    def encode(self, history: Rows) -> Interests:
        """Encode one history as interests.

        An empty history gives the mean of all item vectors (of popular ones more, where lengths
        say how popular) as every interest, scaled as others are; no interest holds any of it
        (weights and counts 0).

        Args:
            history: Item rows, oldest first. Shape (length,), int64. Only the last ``max_len``
                are used.

        Raises:
            IndexError: A row lies outside the catalog.
        """
        rows = history[-self._max_len :]
        k = self._n_interests
        if len(rows) == 0:
            vectors = self._sized(self._mean_item.repeat(k, axis=0))
            nothing = np.zeros(k, dtype=np.float32)
            return Interests(vectors, nothing, nothing.astype(np.int64), nothing[np.newaxis][:0])
        if rows.min() < 0:  # NumPy would count it from the end
            raise IndexError(f"row {rows.min()} lies outside the catalog")
        encoded = self.encode_vectors(self.history_vectors(rows))
        assignment = encoded.assignment
        return Interests(
            vectors=self._sized(encoded.vectors),
            weights=assignment.mean(axis=0),
            counts=np.bincount(assignment.argmax(axis=1), minlength=k),
            assignment=assignment,
        )

    def encode_batch(self, histories: Sequence[Rows]) -> list[Interests]:
        """Encode histories; see ``encode``.

        Raises:
            IndexError: A row of any of them lies outside the catalog.
        """
        return [self.encode(history) for history in histories]

    @cached_property
    def _mean_item(self) -> Floats:
        """Shape (1, d), float32. It reads the whole table, and few histories are empty."""
        mean = self._item_vectors.mean(axis=0, keepdims=True, dtype=np.float64)
        result: Floats = mean.astype(np.float32)
        return result

    def _sized(self, vectors: Floats) -> Floats:
        return normalise(vectors) if self._unit_vectors else vectors


def shares_of(weights: Floats) -> Floats:
    """Scale rows of weights that are at least 0 so that each sums to 1; a row of 0 becomes even."""
    total = weights.sum(axis=1, keepdims=True)
    even = np.float32(1 / weights.shape[1])
    shares: Floats = np.divide(weights, total, out=np.full_like(weights, even), where=total > 0)
    return shares


class Common(NamedTuple):
    """What every rival's file holds.

    Attributes:
        item_vectors: Shape (n_items, d), float32.
        max_len: L.
        unit_vectors: Whether interests are scaled to unit length.
        item_lengths: What item vectors were multiplied by; None: nothing.
    """

    item_vectors: Floats
    max_len: int
    unit_vectors: bool
    item_lengths: Floats | None


def read_common(tensors: Tensors, settings: dict[str, Any]) -> Common:
    """Read what every rival's file holds.

    Raises:
        ValueError: It is missing, or nothing can be encoded with it; the message names it.
    """
    unit_vectors = settings.get("unit_vectors")
    if type(unit_vectors) is not bool:
        raise ValueError(f"unit_vectors is {unit_vectors!r}, expected true or false")
    item_vectors = read_tensor(tensors, "item_embedding", (None, None))
    max_len = read_count(settings, "max_len")
    return Common(item_vectors, max_len, unit_vectors, tensors.get(ITEM_LENGTH))
