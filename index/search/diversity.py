"""Re-rank candidates for variety; see ``model.marginal_relevance``."""

from index.search.merging import Candidates
from model.arrays import Floats, Rows
from model.marginal_relevance import choose_varied


def diversify(
    candidates: Candidates,
    item_vectors: Floats,
    diversity: float,
    n: int,
    *,
    quotas: Rows | None = None,
) -> Candidates:
    """Take n candidates one by one, each good in itself and unlike those already taken.

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
    taken = choose_varied(
        candidates.scores,
        vectors,
        diversity,
        n,
        interests=candidates.interests,
        quotas=quotas,
    )
    return candidates.take(taken)
