"""Training batches: histories, one positive each, shared negatives (OPAL.md, "Losses").

All of it is NumPy with one generator, vectorised over the batch; the state of the generator is
all that has to be kept to go on later with the same batches.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.arrays import Rows
from model.errors import InputError
from model.opal import PADDING

MIN_CUT = 3  # the history before the cut has at least this many interactions, where there are more


@dataclass(frozen=True)
class TrainingBatch:
    """One batch.

    Attributes:
        histories: Item rows before the cut, oldest first, ``PADDING`` on the right.
            Shape (batch, length), int64; length is that of the longest history.
        positives: One item from all that lies after the cut. Shape (batch,), int64.
        negatives: Items drawn uniformly without repetition, shared by the batch.
            Shape (N,), int64.
        is_negative: False where a negative lies in that user's own future. Shape (batch, N), bool.
    """

    histories: Rows
    positives: Rows
    negatives: Rows
    is_negative: NDArray[np.bool_]


class BatchSampler:
    """Draws training batches from the users' training sequences.

    Users are drawn uniformly; the cut is uniform among the positions that leave a history of
    ``MIN_CUT`` (or all but one interaction of a shorter sequence) and a future.

    Args:
        items: All interactions' item rows. Shape (n_interactions,), int64.
        begin: Start of each user's training part in ``items``. Shape (n_users,), int64.
        end: Its end. Shape (n_users,), int64.
        n_items: Items in the catalog.
        max_len: L, interactions kept before the cut.
        batch_size: B.
        n_negatives: N; at most the catalog.

    Raises:
        InputError: No user has two interactions to train on.
    """

    def __init__(
        self,
        *,
        items: Rows,
        begin: Rows,
        end: Rows,
        n_items: int,
        max_len: int,
        batch_size: int,
        n_negatives: int,
    ) -> None:
        trainable = end - begin > 1
        if not trainable.any():
            raise InputError(
                "no user has two interactions in the training part; the log is too small to train"
            )
        self._items = items
        self._begin = begin[trainable]
        self._end = end[trainable]
        self._n_items = n_items
        self._max_len = max_len
        self._batch_size = batch_size
        self._n_negatives = min(n_negatives, n_items)

    @property
    def n_users(self) -> int:
        """Users who can be trained on."""
        return len(self._begin)

    def draw(self, random: np.random.Generator) -> TrainingBatch:
        """Draw one batch."""
        users = random.integers(self.n_users, size=self._batch_size)
        begin, end = self._begin[users], self._end[users]
        first_cut = begin + np.minimum(MIN_CUT, end - begin - 1)
        cut = random.integers(first_cut, end)
        positives = self._items[random.integers(cut, end)]
        negatives = random.choice(self._n_items, size=self._n_negatives, replace=False)
        return TrainingBatch(
            histories=pad_histories(self._items, np.maximum(begin, cut - self._max_len), cut),
            positives=positives,
            negatives=negatives,
            is_negative=~self._in_future(negatives, cut, end),
        )

    def _in_future(self, negatives: Rows, cut: Rows, end: Rows) -> NDArray[np.bool_]:
        column = np.full(self._n_items, -1)
        column[negatives] = np.arange(len(negatives))
        users, positions = ragged_ranges(cut, end)
        columns = column[self._items[positions]]
        found = columns >= 0
        result = np.zeros((len(cut), len(negatives)), dtype=np.bool_)
        result[users[found], columns[found]] = True
        return result


def pad_histories(items: Rows, begin: Rows, end: Rows) -> Rows:
    """Lay ragged slices of ``items`` into one array, ``PADDING`` on the right.

    Args:
        items: Shape (n_interactions,), int64.
        begin: Shape (batch,), int64.
        end: Shape (batch,), int64.

    Returns:
        Shape (batch, longest), int64.
    """
    users, positions = ragged_ranges(begin, end)
    longest = int((end - begin).max(initial=0))
    histories = np.full((len(begin), longest), PADDING, dtype=np.int64)
    histories[users, positions - begin[users]] = items[positions]
    return histories


def ragged_ranges(begin: Rows, end: Rows) -> tuple[Rows, Rows]:
    """Enumerate the ranges [begin_i, end_i): the i and the position of each element, in order."""
    lengths = end - begin
    owner = np.repeat(np.arange(len(begin)), lengths)
    start = np.cumsum(lengths) - lengths
    return owner, np.arange(len(owner)) - start[owner] + begin[owner]
