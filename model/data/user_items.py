"""Users × items as a sparse matrix of ones: who has had what, and what items have in common."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from model.arrays import Rows

MAX_USER_ITEMS = 1000
"""Items of one user that are paired at most, the latest: pairs grow with their square."""

# Pairs (item, item of the same user) that are counted at once: some 250 MiB.
_MAX_BLOCK = 2**22

Matrix = Any
"""``scipy.sparse.csr_array`` of float32; SciPy has no types."""


def binary_matrix(users: Rows, items: Rows, shape: tuple[int, int]) -> Matrix:
    """Make a matrix with a one wherever a pair occurs, once or more often."""
    cells = np.unique(users * shape[1] + items)
    rows, columns = np.divmod(cells, shape[1])
    ones = np.ones(len(cells), dtype=np.float32)
    starts = np.searchsorted(rows, np.arange(shape[0] + 1))
    return sparse.csr_array((ones, columns, starts), shape=shape)


def common_users(matrix: Matrix) -> Iterator[tuple[slice, Matrix]]:
    """Count the users whom two items have in common, some items after the others.

    Args:
        matrix: Of ones. Shape (n_users, n_items).

    Yields:
        Which items, and their counts with all others, themselves included.
        Shape (their number, n_items), float32.
    """
    users_of_item = matrix.T.tocsr()
    work = (users_of_item @ np.diff(matrix.indptr)).astype(np.int64)
    for rows in row_blocks(work, _MAX_BLOCK):
        yield rows, users_of_item[rows] @ matrix


def row_blocks(work: Rows, limit: int) -> list[slice]:
    """Cut rows into blocks of bounded work.

    Args:
        work: Of each row. Shape (n_rows,), int64.
        limit: Work of a block at most, where no single row exceeds it.

    Returns:
        The blocks, in order; together they are all rows.
    """
    ends = np.cumsum(work)
    blocks = []
    begin, done = 0, 0
    while begin < len(work):
        end = max(begin + 1, int(np.searchsorted(ends, done + limit, side="right")))
        blocks.append(slice(begin, end))
        begin, done = end, int(ends[end - 1])
    return blocks
