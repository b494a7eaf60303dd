"""Where training starts: item vectors from co-occurrence, hyper-categories from their clusters.

Item vectors are the leading eigenvectors of the positive pointwise mutual information of training
co-occurrence (Levy and Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", 2014):
most of what a log says about similar items is there before the first step.
"""

import warnings

import numpy as np
from scipy import sparse
from scipy.cluster.vq import kmeans2
from scipy.sparse.linalg import eigsh

from model.arrays import Floats, Rows
from model.data.histories import ragged_ranges
from model.data.user_items import MAX_USER_ITEMS, Matrix, binary_matrix

MAX_PAIRS = 100_000_000
"""Pairs of items counted at most; of a log with more, some users are drawn. Up to 1.6 GB."""
CLUSTERED_ITEMS = 20_000


def pmi_vectors(
    items: Rows,
    begin: Rows,
    end: Rows,
    *,
    n_items: int,
    dim: int,
    random: np.random.Generator,
) -> Floats:
    """Return unit vectors whose inner products follow the positive PMI of co-occurrence.

    Two items co-occur once for each user who has both. The eigenvectors are scaled by the square
    root of their eigenvalue. An item of which they say nothing gets a random direction: one that
    co-occurs with nothing, or only with few items that do so with no others.

    Args:
        items: All interactions' item rows. Shape (n_interactions,), int64.
        begin: Start of each user's training part in ``items``. Shape (n_users,), int64.
        end: Its end. Shape (n_users,), int64.
        n_items: Items in the catalog.
        dim: d.
        random: For what is drawn.

    Returns:
        Shape (n_items, d), float32.
    """
    matrix = positive_pmi(items, begin, end, n_items=n_items, random=random)
    vectors = _leading_eigenvectors(matrix, dim, random)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    # Of an item outside all leading eigenvectors only rounding is left, the same for all of them.
    unknown = length[:, 0] <= 10 * np.finfo(np.float32).eps * length.max()
    vectors[unknown] = random.standard_normal((int(unknown.sum()), dim))
    length[unknown] = np.linalg.norm(vectors[unknown], axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / length, dtype=np.float32)


def positive_pmi(
    items: Rows, begin: Rows, end: Rows, *, n_items: int, random: np.random.Generator
) -> sparse.csr_matrix:
    """Return max(0, log p(v, w) / (p(v) p(w))) of all pairs of items; 0 of an item with itself.

    Args:
        items: See ``pmi_vectors``.
        begin: As there.
        end: As there.
        n_items: As there.
        random: For the users who are drawn where there are more than ``MAX_PAIRS`` pairs.

    Returns:
        Symmetric. Shape (n_items, n_items), float32.
    """
    pairs = _count_pairs(items, np.maximum(begin, end - MAX_USER_ITEMS), end, n_items, random)
    return _positive_pmi(pairs)


def cluster_directions(vectors: Floats, k: int, random: np.random.Generator) -> Floats:
    """Return k orthonormal directions, as near as can be to the centroids of k clusters.

    The clusters are of the vectors without their mean, which all share and which tells none
    apart; the directions are the orthogonal factor of the centroids' polar decomposition.

    Args:
        vectors: Unit length, most frequent items first. Shape (n_items, d), float32.
        k: At most d.
        random: For the clusters' start.

    Returns:
        Shape (k, d), float32.
    """
    frequent = vectors[:CLUSTERED_ITEMS].astype(np.float64)
    centred = frequent - frequent.mean(0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), np.finfo(float).eps)
    k_start = min(k, len(centred))
    # Of fewer distinct points than clusters some start on the same one, and all but one of these
    # stay empty, where they are: nothing to warn of.
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
        centroids, _ = kmeans2(centred, k_start, iter=30, minit="++", rng=random)
    if k_start < k:
        missing = random.standard_normal((k - k_start, vectors.shape[1]))
        centroids = np.concatenate((centroids, missing / np.sqrt(vectors.shape[1])))
    # Where centroids coincide, the decomposition completes them with any orthogonal directions.
    left, _, right = np.linalg.svd(centroids, full_matrices=False)
    return np.ascontiguousarray(left @ right, dtype=np.float32)


def _count_pairs(
    items: Rows, begin: Rows, end: Rows, n_items: int, random: np.random.Generator
) -> Matrix:
    pairs = (end - begin).astype(np.float64) ** 2
    if pairs.sum() > MAX_PAIRS:
        drawn = random.permutation(len(begin))
        drawn = drawn[np.cumsum(pairs[drawn]) <= MAX_PAIRS]
        begin, end = begin[drawn], end[drawn]
    users, positions = ragged_ranges(begin, end)
    matrix = binary_matrix(users, items[positions], (len(begin), n_items))
    pairs = (matrix.T @ matrix).tocsr()
    pairs.setdiag(0)
    pairs.eliminate_zeros()
    return pairs


def _positive_pmi(pairs: Matrix) -> sparse.csr_matrix:
    """max(0, log p(v, w) / (p(v) p(w))). Shape (n_items, n_items)."""
    together = pairs.tocoo()
    total = np.asarray(pairs.sum(1), dtype=np.float64).ravel()
    share = total[together.row] * total[together.col] / max(total.sum(), 1.0)
    pmi = np.log(together.data / share)
    positive = pmi > 0
    return sparse.csr_matrix(
        (pmi[positive].astype(np.float32), (together.row[positive], together.col[positive])),
        shape=pairs.shape,
    )


def _leading_eigenvectors(
    matrix: sparse.csr_matrix, dim: int, random: np.random.Generator
) -> Floats:
    """Eigenvectors of the largest eigenvalues, scaled by their root; negative ones count as 0."""
    n = matrix.shape[0]
    known = min(dim, n)
    vectors = np.zeros((n, dim))
    if not matrix.nnz:  # the iterative method does not start
        return vectors
    if n <= 4 * dim:  # too small for an iterative method
        values, columns = np.linalg.eigh(matrix.toarray().astype(np.float64))
        values, columns = values[-known:], columns[:, -known:]
    else:
        # A start of ones, and restarts from our generator: the same log gives the same vectors.
        start = np.ones(n, dtype=np.float32)
        values, columns = eigsh(matrix, k=known, which="LA", v0=start, rng=random)
    vectors[:, :known] = columns * np.sqrt(np.maximum(values, 0))
    return vectors
