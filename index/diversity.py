"""Re-rank candidates for variety: greedy maximal marginal relevance (Carbonell, Goldstein 1998)."""

import numpy as np

from index.merging import Candidates
from model.arrays import Floats


def diversify(candidates: Candidates, item_vectors: Floats, diversity: float, n: int) -> Candidates:
    """Take n candidates one by one, each good in itself and unlike those already taken.

    A candidate's worth is ``(1 - diversity) * score - diversity * s`` with s its largest cosine
    to a candidate taken before. Of equal worth, the one ranked higher goes first.

    Args:
        candidates: The pool, best score first; larger than ``n``, or there is nothing to choose.
        item_vectors: Shape (n_items, d), float32.
        diversity: From 0 (the order stays) to 1 (scores do not count after the first).
        n: Candidates wanted.

    Returns:
        At most n candidates in the order taken, with their scores as they were.

    Raises:
        ValueError: ``diversity`` is outside 0…1.
    """
    if not 0 <= diversity <= 1:
        raise ValueError(f"diversity is {diversity}, expected 0 to 1")
    n = min(n, len(candidates.rows))
    if diversity == 0 or n == 0:
        return candidates.take(slice(n))
    vectors = item_vectors[candidates.rows]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.maximum(length, np.finfo(np.float32).tiny)
    relevance = (1 - diversity) * candidates.scores
    taken = np.zeros(n, dtype=np.int64)  # the first is the best score, whatever the diversity
    nearest = vectors @ vectors[0]
    open_positions = np.ones(len(vectors), dtype=np.bool_)
    open_positions[0] = False
    for position in range(1, n):
        worth = np.where(open_positions, relevance - diversity * nearest, -np.inf)
        chosen = int(worth.argmax())
        taken[position] = chosen
        open_positions[chosen] = False
        nearest = np.maximum(nearest, vectors @ vectors[chosen])
    return candidates.take(taken)
