"""The nearest neighbours of an item: those that the same users have had.

An item with few interactions has a vector of its own that says little; what is near it in the log
says more. Vectors that hold those of their neighbours are one step of convolution over the graph of
items, as in LightGCN (arXiv 2002.02126, eq. 3), there over users and items.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.arrays import Floats, Rows
from model.cooccurrence import count_pairs

N_NEIGHBOURS = 10
SHRINKAGE = 10.0
"""In users: what few have had together counts less (``model.baselines.itemknn``)."""


class Neighbours(NamedTuple):
    """The nearest neighbours of each item.

    Attributes:
        rows: Nearest first; of an item with fewer neighbours the last ones are itself.
            Shape (n_items, ``N_NEIGHBOURS``), int32.
        weights: Their share, in proportion to similarity: 1 together, 0 where an item stands for
            itself. Shape (n_items, ``N_NEIGHBOURS``), float32.
    """

    rows: NDArray[np.int32]
    weights: Floats


def nearest_neighbours(
    items: Rows, begin: Rows, end: Rows, *, n_items: int, random: np.random.Generator
) -> Neighbours:
    """Find each item's neighbours by cosine of co-occurrence, c_vw / (√(c_v c_w) + shrinkage).

    c counts users who have had an item, or both.

    Args:
        items: See ``model.cooccurrence.pmi_vectors``.
        begin: As there.
        end: As there.
        n_items: As there.
        random: As there.
    """
    pairs, users = count_pairs(items, begin, end, n_items=n_items, random=random)
    pairs.sort_indices()  # equally similar ones: the more frequent item first
    roots = np.sqrt(users)
    rows = np.repeat(np.arange(n_items, dtype=np.int32)[:, None], N_NEIGHBOURS, axis=1)
    weights = np.zeros((n_items, N_NEIGHBOURS), dtype=np.float32)
    for item in np.flatnonzero(np.diff(pairs.indptr)):
        others = slice(pairs.indptr[item], pairs.indptr[item + 1])
        near = pairs.indices[others]
        similarity = pairs.data[others] / (roots[item] * roots[near] + SHRINKAGE)
        nearest = np.argsort(-similarity, kind="stable")[:N_NEIGHBOURS]
        rows[item, : len(nearest)] = near[nearest]
        weights[item, : len(nearest)] = similarity[nearest] / similarity[nearest].sum()
    return Neighbours(rows, weights)
