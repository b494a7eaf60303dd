"""Scores from the item vectors themselves, where an index is not asked or only half believed."""

import faiss
import numpy as np

from index.search.item_index import NO_ROW, SearchResult, no_answers
from model.arrays import Floats, Rows

_BLOCK_NUMBERS = 1 << 22
"""Numbers gathered at a time, 16 MiB: the queries of many users want thousands of vectors each."""


def score_each_query_alone() -> None:
    """Keep Faiss from scoring many queries of a call by one matrix product.

    From queries x dimensions = a threshold on (2000 interests of 64 dimensions by default, 20
    queries in a direct search) it does, and that rounds differently: a score would then depend on
    who else asks at the same moment. The threshold is the process's; whoever scores sets it.
    """
    faiss.cvar.distance_compute_blas_threshold = np.iinfo(np.int32).max


def search_directly(
    item_vectors: Floats, queries: Floats, n: int, rows: Rows | None
) -> SearchResult:
    """Score the vectors themselves by Faiss.

    Args:
        item_vectors: Shape (n_items, d), float32.
        queries: Shape (q, d), float32.
        n: Answers per query.
        rows: Of the items to score, ascending; None: all.

    Returns:
        As ``ItemIndex.search``.
    """
    vectors = item_vectors if rows is None else item_vectors[rows]
    result = no_answers(len(queries), n)
    found = min(n, len(vectors))
    if found:
        score_each_query_alone()
        scores, places = faiss.knn(queries, vectors, found, metric=faiss.METRIC_INNER_PRODUCT)
        result.scores[:, :found] = scores
        result.rows[:, :found] = places if rows is None else rows[places]
    return result


def scores_of(rows: Rows, queries: Floats, item_vectors: Floats) -> Floats:
    """Score the items that each query found.

    Args:
        rows: Item rows or ``NO_ROW``. Shape (q, n), int64.
        queries: Shape (q, d), float32.
        item_vectors: Shape (n_items, d), float32.

    Returns:
        Inner products, ``-inf`` where there is no item. Shape (q, n), float32.
    """
    found = rows != NO_ROW
    known = np.where(found, rows, 0)
    scores = np.empty(rows.shape, dtype=np.float32)
    step = max(1, _BLOCK_NUMBERS // max(1, rows.shape[1] * item_vectors.shape[1]))
    for begin in range(0, len(rows), step):
        part = slice(begin, begin + step)
        vectors = item_vectors[known[part]]
        scores[part] = np.matmul(vectors, queries[part, :, np.newaxis])[..., 0]
    scores[~found] = -np.inf
    return scores


def rescored(result: SearchResult, queries: Floats, item_vectors: Floats, n: int) -> SearchResult:
    """Score what was found with the vectors themselves, and keep the best n of each query."""
    scores = scores_of(result.rows, queries, item_vectors)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    return SearchResult(
        np.take_along_axis(scores, best, axis=1), np.take_along_axis(result.rows, best, axis=1)
    )
