"""From one result list per interest to one ranked list of candidates. Pure NumPy."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.item_index import NO_ROW, SearchResult
from model.arrays import Floats, Rows


class Candidates(NamedTuple):
    """Ranked items: largest score first, equal scores by item row; no item twice.

    Attributes:
        rows: Item rows. Shape (n,), int64.
        scores: Shape (n,), float32.
        interests: The interest that gave each item its score. Shape (n,), int64.
    """

    rows: Rows
    scores: Floats
    interests: Rows

    def take(self, positions: Rows | slice) -> "Candidates":
        """Return the candidates at these positions, in their order."""
        return Candidates(self.rows[positions], self.scores[positions], self.interests[positions])


def merge_interests(result: SearchResult) -> Candidates:
    """Merge by maximum: an item's score is the largest that any interest gives it.

    Where two interests give an item the very same score, the one with the lower number counts.

    Args:
        result: One query per interest. Shape (k, n).

    Returns:
        All items found, each once, at most k * n.
    """
    pairs = ranked_pairs(result)
    # The first occurrence of a row in that order is its best score.
    return pairs.take(np.sort(np.unique(pairs.rows, return_index=True)[1]))


def ranked_pairs(result: SearchResult) -> Candidates:
    """Rank all pairs of item and interest: by score, then row, then number of the interest.

    Args:
        result: One query per interest. Shape (k, n).

    Returns:
        All pairs found, at most k * n; here an item comes once for each interest that found it.
    """
    found = result.rows.ravel() != NO_ROW
    rows, scores = result.rows.ravel()[found], result.scores.ravel()[found]
    interests = np.repeat(np.arange(len(result.rows)), result.rows.shape[1])[found]
    # Stable: where score and row are equal, the order of interests remains.
    ranked = np.argsort(_rank_keys(rows, scores), kind="stable")
    return Candidates(rows[ranked], scores[ranked], interests[ranked])


def _rank_keys(rows: Rows, scores: Floats) -> NDArray[np.uint64]:
    """Numbers that ascend as the score descends, and with the row where scores are equal.

    One key to sort by is three times as fast as two, and each interest's list is sorted by it
    already. As integers, the bits of floats of one sign are in the order of the floats.
    """
    bits = (np.float32(0) - scores).view(np.int32).astype(np.int64)  # 0 - x is never -0
    ascending = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits) + 2**31
    keys: NDArray[np.uint64] = (ascending.astype(np.uint64) << np.uint64(32)) | rows.astype(
        np.uint64
    )
    return keys
