"""Exact search in NumPy: the truth that tests, probes and tuning compare with."""

import numpy as np

from index.search.item_index import SearchResult, check_search, no_answers
from model.arrays import Floats, Mask, Rows

BLOCK = 8192
"""Item vectors made double at a time, so that a large catalog is not doubled in memory."""


class ExactItemIndex:
    """Scores every item in double precision and sorts; ties come in row order.

    Args:
        item_vectors: Shape (n_items, d), float32. Not copied.
    """

    def __init__(self, item_vectors: Floats) -> None:
        self._item_vectors = item_vectors

    def __repr__(self) -> str:
        return f"<ExactItemIndex {self.n_items} x {self.dim}>"

    @property
    def kind(self) -> str:
        """See ``ItemIndex.kind``."""
        return "exact"

    @property
    def n_items(self) -> int:
        """See ``ItemIndex.n_items``."""
        return int(self._item_vectors.shape[0])

    @property
    def dim(self) -> int:
        """See ``ItemIndex.dim``."""
        return int(self._item_vectors.shape[1])

    def search(self, queries: Floats, n: int, *, allowed: Mask | None = None) -> SearchResult:
        """See ``ItemIndex.search``; here ties come in row order, at the cut too."""
        check_search(self, queries, n, allowed)
        rows = np.arange(self.n_items) if allowed is None else np.flatnonzero(allowed)
        vectors = self._item_vectors if allowed is None else self._item_vectors[rows]
        result = no_answers(len(queries), n)
        found = min(n, len(rows))
        for position, query in enumerate(queries):
            scores = exact_scores(vectors, query)
            best = _best(scores, found)
            result.scores[position, :found] = scores[best]
            result.rows[position, :found] = rows[best]
        return result


def exact_scores(vectors: Floats, query: Floats) -> Floats:
    """Inner products, summed in double precision, one query at a time.

    A single float32 matrix product would round differently for another number of queries.

    Args:
        vectors: Shape (n, d), float32.
        query: Shape (d,), float32.

    Returns:
        Shape (n,), float32.
    """
    precise = query.astype(np.float64)
    scores = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK].astype(np.float64)
        scores[start : start + BLOCK] = block @ precise
    return scores


def _best(scores: Floats, n: int) -> Rows:
    """Positions of the n largest scores, ties in order; without sorting all. Shape (n,), int64."""
    if n == 0:
        return np.empty(0, dtype=np.int64)
    cut = np.partition(scores, len(scores) - n)[len(scores) - n]
    candidates = np.flatnonzero(scores >= cut)
    best: Rows = candidates[np.argsort(-scores[candidates], kind="stable")[:n]]
    return best
