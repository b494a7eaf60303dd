"""Training batches: histories, positives, shared negatives (arXiv 2407.14741: losses).

All of it is NumPy with one generator, vectorised over the batch; the state of the generator is
all that has to be kept to go on later with the same batches.
"""

from dataclasses import dataclass

import numpy as np

from model.arrays import Floats, Rows
from model.data.negatives import NegativeSampler
from model.errors import InputError

PADDING = -1
"""Where a padded history holds no item; no table has such a row."""

PAPERS_MIN_CUT = 3

MAX_POSITIVES = 150
"""Of one user in one batch: a few users with thousands of interactions must not make its cost."""


@dataclass(frozen=True)
class TrainingBatch:
    """One batch: B users, P positives, N negatives. It names items by their place in ``items``.

    Attributes:
        items: Distinct item rows, ascending; every item of the batch is among them.
            Shape (U,), int64.
        histories: The items before the cut, user after user, oldest first.
            Shape (n_interactions,), int64.
        lengths: Interactions of each user's history. Shape (B,), int64.
        ages: Of each interaction of a history: 0 for the one before the cut, then 1, 2, …;
            dropped ones count. Shape (n_interactions,), int64.
        by_item: The places in ``histories`` in order of their item. Shape (n_interactions,), int64.
        positives: Items after the cut, user after user; each user has some. Shape (P,), int64.
        owners: The user of each positive, 0 to B − 1. Shape (P,), int64.
        negatives: Distinct items shared by the batch. Shape (N,), int64.
        log_weights: Of the negatives (see ``model.data.negatives``). Shape (N,), float32, or None.
        own_future: User (0 to B − 1) and negative (0 to N − 1) wherever a negative lies in that
            user's own future; a pair comes as often as the item does there. Shape (2, n), int64.
    """

    items: Rows
    histories: Rows
    lengths: Rows
    ages: Rows
    by_item: Rows
    positives: Rows
    owners: Rows
    negatives: Rows
    log_weights: Floats | None
    own_future: Rows


class BatchSampler:
    """Draws training batches from the users' training sequences.

    Users are drawn uniformly; the cut is uniform among the positions that leave a history of
    ``min_cut`` (or all but one interaction of a shorter sequence) and a future, or the latest of
    several such ones.

    Args:
        items: All interactions' item rows. Shape (n_interactions,), int64.
        begin: Start of each user's training part in ``items``. Shape (n_users,), int64.
        end: Its end. Shape (n_users,), int64.
        n_items: Items in the catalog.
        max_len: L, interactions kept before the cut.
        batch_size: B.
        negatives: Draws what the batch shares.
        min_cut: Interactions before the cut at least, where there are more.
        cut_draws: Positions that are drawn for a cut; it is the latest of them.
        horizon: All that lies within this share of the user's sequence after the cut is positive
            (one interaction at least, ``MAX_POSITIVES`` at most; with 0 therefore the very next
            one alone); None: one item drawn from all after the cut.
        history_dropout: Share of a history's interactions that is dropped at random; one at
            least stays.

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
        negatives: NegativeSampler,
        min_cut: int = PAPERS_MIN_CUT,
        cut_draws: int = 1,
        horizon: float | None = None,
        history_dropout: float = 0.0,
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
        self._negatives = negatives
        self._min_cut = min_cut
        self._cut_draws = cut_draws
        self._horizon = horizon
        self._history_dropout = history_dropout
        # The place of an item among a batch's negatives. It is kept and cleared entry by entry: a
        # new one for each batch would take time that grows with the catalog.
        self._negative_of_item = np.full(n_items, -1, dtype=np.int32)

    @property
    def n_users(self) -> int:
        """Users who can be trained on."""
        return len(self._begin)

    def draw(self, random: np.random.Generator) -> TrainingBatch:
        """Draw one batch."""
        users = random.integers(self.n_users, size=self._batch_size)
        begin, end = self._begin[users], self._end[users]
        first_cut = begin + np.minimum(self._min_cut, end - begin - 1)
        cut = random.integers(first_cut, end)
        for _ in range(self._cut_draws - 1):
            cut = np.maximum(cut, random.integers(first_cut, end))
        owners, ahead = self._draw_positives(begin, cut, end, random)
        negatives, log_weights = self._negatives.draw(random)
        readers, before = self._draw_histories(begin, cut, random)
        positives, histories = self._items[ahead], self._items[before]
        items, places = self._distinct(np.concatenate((histories, positives, negatives)))
        ends = np.cumsum([len(histories), len(positives)])
        histories_at, positives_at, negatives_at = np.split(places, ends)
        return TrainingBatch(
            items=items,
            histories=histories_at,
            lengths=np.bincount(readers, minlength=self._batch_size),
            ages=cut[readers] - 1 - before,
            by_item=sorting_order(histories_at, len(items)),
            positives=positives_at,
            owners=owners,
            negatives=negatives_at,
            log_weights=log_weights,
            own_future=self._own_future(negatives, cut, end),
        )

    def _draw_positives(
        self, begin: Rows, cut: Rows, end: Rows, random: np.random.Generator
    ) -> tuple[Rows, Rows]:
        """Return the user and the position of each positive."""
        if self._horizon is None:
            return np.arange(len(cut)), random.integers(cut, end)
        reach = np.ceil((end - begin) * self._horizon).astype(np.int64)
        reach = np.clip(reach, 1, MAX_POSITIVES)
        return ragged_ranges(cut, np.minimum(end, cut + reach))

    def _draw_histories(
        self, begin: Rows, cut: Rows, random: np.random.Generator
    ) -> tuple[Rows, Rows]:
        """Return the user and the position of each interaction of the histories."""
        begin = np.maximum(begin, cut - self._max_len)
        users, positions = ragged_ranges(begin, cut)
        if not self._history_dropout:
            return users, positions
        kept = random.random(len(users)) >= self._history_dropout
        kept |= positions == random.integers(begin, cut)[users]  # nobody loses everything
        return users[kept], positions[kept]

    def _distinct(self, rows: Rows) -> tuple[Rows, Rows]:
        """Return distinct items, all of ``rows`` among them, and the place of each row there."""
        if self._n_items <= len(rows):  # a small catalog as it is: cheaper than to sort
            return np.arange(self._n_items), rows
        return np.unique(rows, return_inverse=True)

    def _own_future(self, negatives: Rows, cut: Rows, end: Rows) -> Rows:
        self._negative_of_item[negatives] = np.arange(len(negatives))
        users, positions = ragged_ranges(cut, end)
        negative = self._negative_of_item[self._items[positions]]
        self._negative_of_item[negatives] = -1
        found = np.flatnonzero(negative >= 0)
        return np.stack((users[found], negative[found]))


def sorting_order(numbers: Rows, end: int) -> Rows:
    """Return the stable argsort of numbers from 0 to ``end`` − 1, shape and type kept."""
    # NumPy sorts numbers of two bytes by radix, several times as fast.
    narrow = np.uint16 if end <= np.iinfo(np.uint16).max + 1 else np.int64
    return np.argsort(numbers.astype(narrow), kind="stable")


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
