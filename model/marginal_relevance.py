"""Choose varied items: greedy maximal marginal relevance (Carbonell, Goldstein 1998)."""

import numpy as np

from model.arrays import Floats, Mask, Rows

_MOST_OF_COSINES = 1.001  # 1, but for rounding

_POOL_FACTOR = 3
_POOL_MORE = 500


def pool_size(n: int) -> int:
    """Return how many of the best items n varied ones are chosen from."""
    return min(_POOL_FACTOR * n, n + _POOL_MORE)


def choose_varied(
    scores: Floats,
    vectors: Floats,
    diversity: float,
    n: int,
    *,
    interests: Rows | None = None,
    quotas: Rows | None = None,
) -> Rows:
    """Take n items one by one, each good in itself and unlike those already taken.

    An item's worth is ``(1 - diversity) * score - diversity * s`` with s its largest cosine to an
    item taken before. Scores that are no cosines, of a model whose vectors are of any length,
    count as shares of the largest one. Of equal worth, the one that stands first is taken.

    Args:
        scores: Of each item, best first. Shape (m,), float32.
        vectors: Their vectors, of any length. Shape (m, d), float32.
        diversity: From 0 (the order stays) to 1 (scores do not count after the first).
        n: Items wanted, at most m.
        interests: The interest of each item; with ``quotas``. Shape (m,), int64.
        quotas: Most items of each interest, n in all; where no interest with a place has an item
            left, any goes. Shape (k,), int64. None: any number.

    Returns:
        Places in ``scores`` in the order taken. Shape (n,), int64.
    """
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.maximum(length, np.finfo(np.float32).tiny)
    largest = np.abs(scores).max(initial=0)
    if largest > _MOST_OF_COSINES:
        scores = scores / largest
    relevance = (1 - diversity) * scores
    taken = np.zeros(n, dtype=np.int64)
    nearest = np.zeros(len(vectors), dtype=np.float32)
    is_left = np.ones(len(vectors), dtype=np.bool_)
    places = None if quotas is None else quotas.copy()
    for position in range(n):
        is_open = is_left
        if places is not None and interests is not None:
            is_open = _with_place(is_left, interests, places)
        # The first is the best score, whatever the diversity: nothing is near anything yet.
        worth = np.where(is_open, relevance - diversity * nearest, -np.inf)
        chosen = int(worth.argmax())
        taken[position] = chosen
        is_left[chosen] = False
        if places is not None and interests is not None:
            places[interests[chosen]] -= 1
        similarity = vectors @ vectors[chosen]
        nearest = similarity if position == 0 else np.maximum(nearest, similarity)
    return taken


def _with_place(is_left: Mask, interests: Rows, places: Rows) -> Mask:
    """Those left whose interest has a place; all that are left where none has. Shape (m,), bool."""
    with_place = is_left & (places[interests] > 0)
    return with_place if with_place.any() else is_left
