"""Re-rank candidates for variety: greedy maximal marginal relevance (Carbonell, Goldstein 1998)."""

import numpy as np

from index.merging import Candidates
from model.arrays import Floats, Mask, Rows

_MOST_OF_COSINES = 1.001  # 1, but for rounding


def diversify(
    candidates: Candidates,
    item_vectors: Floats,
    diversity: float,
    n: int,
    *,
    quotas: Rows | None = None,
) -> Candidates:
    """Take n candidates one by one, each good in itself and unlike those already taken.

    A candidate's worth is ``(1 - diversity) * score - diversity * s`` with s its largest cosine
    to a candidate taken before. Scores that are no cosines, of a model whose vectors are of any
    length, count as shares of the largest one. Of equal worth, the one ranked higher goes first.

    Args:
        candidates: The pool, best score first; larger than ``n``, or there is nothing to choose.
        item_vectors: Shape (n_items, d), float32.
        diversity: From 0 (the order stays) to 1 (scores do not count after the first).
        n: Candidates wanted.
        quotas: Most candidates of each interest, n in all, for each of which the pool has as many
            if it has n. Shape (k,), int64. None: any number. The first is the best score of an
            interest that has a place.

    Returns:
        At most n candidates in the order taken, with their scores as they were.

    Raises:
        ValueError: ``diversity`` is outside 0…1.
    """
    if not 0 <= diversity <= 1:
        raise ValueError(f"diversity is {diversity}, expected 0 to 1")
    n = min(n, len(candidates.rows))
    if n == 0 or (diversity == 0 and quotas is None):
        return candidates.take(slice(n))
    vectors = item_vectors[candidates.rows]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.maximum(length, np.finfo(np.float32).tiny)
    scores = candidates.scores
    largest = np.abs(scores).max()
    if largest > _MOST_OF_COSINES:
        scores = scores / largest
    relevance = (1 - diversity) * scores
    taken = np.zeros(n, dtype=np.int64)
    nearest = np.zeros(len(vectors), dtype=np.float32)
    is_left = np.ones(len(vectors), dtype=np.bool_)
    places = None if quotas is None else quotas.copy()
    for position in range(n):
        is_open = is_left if places is None else _with_place(is_left, candidates, places)
        # The first is the best score, whatever the diversity: nothing is near anything yet.
        worth = np.where(is_open, relevance - diversity * nearest, -np.inf)
        chosen = int(worth.argmax())
        taken[position] = chosen
        is_left[chosen] = False
        if places is not None:
            places[candidates.interests[chosen]] -= 1
        similarity = vectors @ vectors[chosen]
        nearest = similarity if position == 0 else np.maximum(nearest, similarity)
    return candidates.take(taken)


def _with_place(is_left: Mask, candidates: Candidates, places: Rows) -> Mask:
    """Those left whose interest has a place; all that are left where none has. Shape (n,), bool."""
    with_place = is_left & (places[candidates.interests] > 0)
    return with_place if with_place.any() else is_left
