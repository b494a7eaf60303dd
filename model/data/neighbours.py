"""The nearest neighbours of an item: those that the same users have had.

An item with few interactions has a vector of its own that says little; what is near it in the log
says more. Vectors that hold those of their neighbours are one step of convolution over the graph of
items, as in LightGCN (arXiv 2002.02126, eq. 3), there over users and items.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.arrays import Floats, Rows
from model.data.histories import ragged_ranges
from model.data.user_items import MAX_USER_ITEMS, binary_matrix, common_users

N_NEIGHBOURS = 10
SHRINKAGE = 10.0
"""In users: an item that few have had together with another is a neighbour after those that more
have (``model.baselines.itemknn``). What the neighbours weigh together does not depend on it."""

MAX_PAIRS = 10_000_000_000
"""Pairs of a user's items counted at most, some minutes' work: where there are more, of each user
fewer items count, the latest."""


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


def nearest_neighbours(items: Rows, begin: Rows, end: Rows, *, n_items: int) -> Neighbours:
    """Find each item's neighbours by cosine of co-occurrence, c_vw / (√(c_v c_w) + shrinkage).

    c counts users who have had an item, or both.

    Args:
        items: All interactions' item rows. Shape (n_interactions,), int64.
        begin: Start of each user's training part in ``items``. Shape (n_users,), int64.
        end: Its end. Shape (n_users,), int64.
        n_items: Items in the catalog.
    """
    begin = np.maximum(begin, end - _latest_that_count(end - begin))
    users, positions = ragged_ranges(begin, end)
    matrix = binary_matrix(users, items[positions], (len(begin), n_items))
    roots = np.sqrt(np.bincount(matrix.indices, minlength=n_items).astype(np.float32))
    rows = np.repeat(np.arange(n_items, dtype=np.int32)[:, None], N_NEIGHBOURS, axis=1)
    weights = np.zeros((n_items, N_NEIGHBOURS), dtype=np.float32)
    for block, common in common_users(matrix):
        common.sort_indices()  # equally similar ones: the more frequent item first
        for item, start, stop in zip(
            range(block.start, block.stop), common.indptr[:-1], common.indptr[1:], strict=True
        ):
            others, counts = common.indices[start:stop], common.data[start:stop]
            is_another = others != item
            near, counts = others[is_another], counts[is_another]
            similarity = counts / (roots[item] * roots[near] + SHRINKAGE)
            nearest = np.argsort(-similarity, kind="stable")[:N_NEIGHBOURS]
            if len(nearest):
                rows[item, : len(nearest)] = near[nearest]
                weights[item, : len(nearest)] = similarity[nearest] / similarity[nearest].sum()
    return Neighbours(rows, weights)


def _latest_that_count(lengths: Rows) -> int:
    """Return how many items of each user are paired."""
    latest = MAX_USER_ITEMS
    while (np.minimum(lengths, latest).astype(np.float64) ** 2).sum() > MAX_PAIRS and latest > 1:
        latest //= 2
    return latest
