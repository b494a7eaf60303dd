"""From one result list per interest to one ranked list of candidates. Pure NumPy."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.search.item_index import NO_ROW, SearchResult
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


def merge_interests(result: SearchResult, *, least: float = -np.inf) -> Candidates:
    """Merge by maximum: an item's score is the largest that any interest gives it.

    Where two interests give an item the very same score, the one with the lower number counts.

    Args:
        result: One query per interest. Shape (k, n).
        least: Scores below are not looked at. A merge takes half of the time where the worst
            score that can matter is known (``wanted.Wanted.least_score``).

    Returns:
        All items found with such a score, each once, at most k * n.
    """
    pairs = ranked_pairs(result, least=least)
    # The first occurrence of a row in that order is its best score. As every key is another one,
    # the fastest sort will do, which is not stable.
    by_row = np.argsort(pairs.rows * len(pairs.rows) + np.arange(len(pairs.rows)))
    rows = pairs.rows[by_row]
    is_first = np.ones(len(rows), dtype=np.bool_)
    np.not_equal(rows[1:], rows[:-1], out=is_first[1:])
    is_best = np.empty_like(is_first)
    is_best[by_row] = is_first
    return pairs.take(np.flatnonzero(is_best))


def ranked_pairs(result: SearchResult, *, least: float = -np.inf) -> Candidates:
    """Rank all pairs of item and interest: by score, then row, then number of the interest.

    Args:
        result: One query per interest. Shape (k, n).
        least: Scores below are left out.

    Returns:
        All pairs found, at most k * n; here an item comes once for each interest that found it.
    """
    scores, rows = result.scores.ravel(), result.rows.ravel()
    places = np.flatnonzero(scores >= least if least > -np.inf else rows != NO_ROW)
    scores, rows = scores[places], rows[places]
    keys = _rank_keys(rows, scores)
    ranked = np.argsort(keys)
    ordered = keys[ranked]
    if (ordered[1:] == ordered[:-1]).any():
        # Score and row are equal: the order of interests has to remain, which takes longer.
        ranked = np.argsort(keys, kind="stable")
    return Candidates(rows[ranked], scores[ranked], places[ranked] // result.rows.shape[1])


def _rank_keys(rows: Rows, scores: Floats) -> NDArray[np.int64]:
    """Numbers that ascend as the score descends, and with the row where scores are equal.

    One key to sort by is three times as fast as two. As integers, the bits of floats of one sign
    are in the order of the floats.
    """
    bits = (np.float32(0) - scores).view(np.int32)  # 0 - x is never -0
    # Of a negative number the bits count downwards: turned over, all but the sign.
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    keys: NDArray[np.int64] = (ascending.astype(np.int64) << 32) | rows
    return keys
