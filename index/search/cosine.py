"""The items nearest to one by cosine, where item vectors are of any length."""

import numpy as np

from index.search.merging import Candidates
from model.arrays import Floats, Mask

_BLOCK = 8192
"""Item vectors scored at a time: what is mapped is read once, and never copied as a whole."""
_LEAST_LENGTH = np.float32(1e-12)


def nearest_by_cosine(item_vectors: Floats, query: Floats, n: int, allowed: Mask) -> Candidates:
    """Score all items by cosine; an index over inner products would find the longest first.

    Args:
        item_vectors: Shape (n_items, d), float32.
        query: Unit length. Shape (d,), float32.
        n: Candidates wanted.
        allowed: True for the rows that are wanted. Shape (n_items,), bool.

    Returns:
        n candidates, or as many as are allowed; their interest is 0.
    """
    cosines = np.empty(len(item_vectors), dtype=np.float32)
    for begin in range(0, len(item_vectors), _BLOCK):
        block = item_vectors[begin : begin + _BLOCK]
        lengths = np.sqrt(np.vecdot(block, block))
        cosines[begin : begin + _BLOCK] = (block @ query) / np.maximum(lengths, _LEAST_LENGTH)
    rows = np.flatnonzero(allowed)
    best = rows[np.argsort(-cosines[rows], kind="stable")[:n]]
    return Candidates(best, cosines[best], np.zeros(len(best), dtype=np.int64))
