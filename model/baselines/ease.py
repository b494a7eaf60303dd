"""EASE: the linear autoencoder whose items do not predict themselves, in closed form.

Steck, "Embarrassingly shallow autoencoders for sparse data" (WWW 2019): B minimises
‖X − X B‖² + λ ‖B‖² under diag(B) = 0. With P = (XᵀX + λ I)⁻¹ its solution is
B_ij = −P_ij / P_jj off the diagonal.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg import lapack

from model.arrays import Floats, Rows
from model.baselines.matrix import history_matrix
from model.data.user_items import Matrix
from model.errors import InputError

DEFAULT_L2 = 200.0
MAX_ITEMS = 25_000
"""The n × n matrix takes 2.5 GB there, its inverse three minutes of one core."""

# Rows of XᵀX, or of a copied triangle, that are made at once.
_BLOCK = 512


def ease_gigabytes(n_items: int) -> float:
    """Tell the size of the n × n matrix; EASE takes little else."""
    return n_items**2 * 4 / 1e9


def ease_seconds(n_items: int) -> float:
    """Estimate the seconds that the inverse takes one core of 8 × 10¹⁰ operations a second."""
    return n_items**3 / 8e10


def require_fit(n_items: int) -> None:
    """Raise InputError where the catalog is too large for EASE."""
    if n_items > MAX_ITEMS:
        raise InputError(
            f"EASE needs a dense matrix of {n_items} × {n_items} numbers "
            f"({ease_gigabytes(n_items):.1f} GB); it is limited to {MAX_ITEMS} items. Take item-kNN"
        )


class Ease:
    """The user's binary history times B.

    Args:
        matrix: X, of ones. Shape (n_users, n_items).
        l2: λ.

    Raises:
        InputError: λ is out of its range, or too small for float32; or the catalog is too large.
    """

    def __init__(self, matrix: Matrix, *, l2: float = DEFAULT_L2) -> None:
        if not 0 < l2 < math.inf:
            raise InputError(f"EASE: λ (--ease-l2) is {l2}; expected more than 0")
        require_fit(matrix.shape[1])
        self._l2 = l2
        self._weights = _gram(matrix)
        np.einsum("ii->i", self._weights)[:] += l2
        _invert(self._weights)
        self._weights /= -np.diag(self._weights)
        np.fill_diagonal(self._weights, 0)

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        """λ."""
        return {"l2": self._l2}

    def scores(self, histories: Sequence[Rows]) -> Floats:
        """See ``Baseline``."""
        result: Floats = history_matrix(histories, len(self._weights)) @ self._weights
        return result


def _gram(matrix: Matrix) -> Floats:
    """Count common users: XᵀX, dense. Shape (n_items, n_items), float32."""
    users_of_item = matrix.T.tocsr()
    n_items = matrix.shape[1]
    gram = np.empty((n_items, n_items), dtype=np.float32)
    for begin in range(0, n_items, _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        gram[rows] = (users_of_item[rows] @ matrix).toarray()
    return gram


def _invert(matrix: Floats) -> None:
    """Invert a symmetric positive definite matrix in its own memory, by Cholesky factors."""
    # LAPACK lays matrices out by columns: the upper triangle of the transposed view, which it
    # works on, is our lower one.
    _, no_factor = lapack.spotrf(matrix.T, clean=False, overwrite_a=True)
    _, no_inverse = lapack.spotri(matrix.T, overwrite_c=True)
    if no_factor or no_inverse:
        raise InputError("EASE: the matrix cannot be inverted in float32; raise λ (--ease-l2)")
    for begin in range(0, len(matrix), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        square = matrix[rows, rows]
        square[:] = np.tril(square) + np.tril(square, -1).T
        matrix[rows, begin + _BLOCK :] = matrix[begin + _BLOCK :, rows].T
