"""From one result list per interest to one ranked list of candidates. Pure NumPy."""

from typing import NamedTuple

import numpy as np

from index.item_index import NO_ROW, Floats, Rows, SearchResult


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
    interest, position = np.nonzero(result.rows != NO_ROW)
    rows, scores = result.rows[interest, position], result.scores[interest, position]
    ranked = np.lexsort((interest, rows, -scores))
    rows = rows[ranked]
    # The first occurrence of a row in that order is its best score.
    first = np.sort(np.unique(rows, return_index=True)[1])
    best = ranked[first]
    return Candidates(rows[first], scores[best], interest[best].astype(np.int64))
