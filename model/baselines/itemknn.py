"""Item-kNN: an item is scored by its similarity to what the user has had.

Sarwar, Karypis, Konstan, Riedl, "Item-based collaborative filtering recommendation algorithms"
(WWW 2001); Deshpande, Karypis, "Item-based top-N recommendation algorithms" (ACM TOIS 2004).
Shrinkage as in Bell, Koren, "Improved neighborhood-based collaborative filtering" (2007): without
it, on sparse logs, items seen together once or twice come out as the most similar ones.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from model.arrays import Floats, Rows
from model.baselines.matrix import history_matrix
from model.data.user_items import Matrix, common_users
from model.errors import InputError


def count_pairs(matrix: Matrix) -> int:
    """Count what has to be added up: the squared lengths of the users' histories.

    It bounds the similarities that are not zero, too.

    Args:
        matrix: Of ones. Shape (n_users, n_items).
    """
    return int((np.diff(matrix.indptr).astype(np.int64) ** 2).sum())


class ItemKnn:
    """Sum of similarities over the whole history: s(u, j) = Σ_{i in history} sim(i, j).

    sim(i, j) = c_ij / (√(c_i c_j) + shrinkage), where c counts users: cosine, and what few users
    vouch for counts less. Only the most similar ``neighbours`` of each j count.

    It takes 8 bytes for each similarity kept, four times as much while it is made. There are at
    most n_items × neighbours of them; with all neighbours, as many as ``count_pairs`` says, and
    never more than n_items².

    Args:
        matrix: Of ones. Shape (n_users, n_items).
        shrinkage: In users; 0 is the plain cosine.
        neighbours: None: all.

    Raises:
        InputError: A number is out of its range.
    """

    def __init__(self, matrix: Matrix, *, shrinkage: float, neighbours: int | None) -> None:
        if not 0 <= shrinkage < math.inf:
            raise InputError(f"item-kNN: shrinkage is {shrinkage}; expected 0 or more")
        if neighbours is not None and neighbours < 1:
            raise InputError(f"item-kNN: neighbours is {neighbours}; expected at least 1")
        self._shrinkage = shrinkage
        self._neighbours = neighbours
        self._n_items = matrix.shape[1]
        # Rows are items of the history, columns the items to score.
        self._similarity = self._nearest(matrix).T.tocsr()

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        """Shrinkage and number of neighbours (None: all)."""
        return {"shrinkage": self._shrinkage, "neighbours": self._neighbours}

    def scores(self, histories: Sequence[Rows]) -> Floats:
        """See ``Baseline``."""
        result: Floats = (history_matrix(histories, self._n_items) @ self._similarity).toarray()
        return result

    def _nearest(self, matrix: Matrix) -> Matrix:
        """Similarities of each item's neighbours, itself left out. Shape (n_items, n_items)."""
        roots = np.sqrt(np.bincount(matrix.indices, minlength=self._n_items))
        blocks = [self._neighbours_of(rows, common, roots) for rows, common in common_users(matrix)]
        return sparse.vstack(blocks, format="csr")

    def _neighbours_of(self, rows: slice, common: Matrix, roots: NDArray[np.float64]) -> Matrix:
        """Turn counts of common users into similarities, and keep the neighbours' ones."""
        starts, others = common.indptr, common.indices
        lengths = np.diff(starts)
        sizes = np.repeat(roots[rows], lengths) * roots[others]
        values = (common.data / (sizes + self._shrinkage)).astype(np.float32)
        itself = others == np.repeat(np.arange(rows.start, rows.start + len(lengths)), lengths)
        values[itself] = 0
        if self._neighbours is not None:
            for row in np.flatnonzero(lengths > self._neighbours):
                part = slice(starts[row], starts[row + 1])
                _keep_largest(values[part], others[part], self._neighbours)
        kept = values > 0
        kept_before = np.concatenate(([0], np.cumsum(kept)))
        return sparse.csr_array(
            (values[kept], others[kept], kept_before[starts]), shape=common.shape
        )


def _keep_largest(values: Floats, items: Rows, count: int) -> None:
    """Set all but the largest values of one row to 0, in place; ties go by item row."""
    least = np.partition(values, -count)[-count]
    tied = np.flatnonzero(values == least)
    n_larger = np.count_nonzero(values > least)
    values[values < least] = 0
    values[tied[np.argsort(items[tied])[count - n_larger :]]] = 0
