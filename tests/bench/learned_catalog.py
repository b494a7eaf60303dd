"""Catalogs of any size with the structure of learned embeddings, and interests to search them with.

Item vectors are the leading eigenvectors of the positive PMI of a real log (where the default
recipe starts from). More items than the log has lie between near neighbours, with noise. A user's
interests are means of parts of a real history: near items come into the same part.
"""

from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np

from model.arrays import Floats, Rows
from model.data.cooccurrence import pmi_vectors
from model.data.dataset import Dataset

DIM = 64
_NEIGHBOURS = 10
_NOISE = 0.25
_ROUNDS = 3
_LONGEST = 50


class LearnedCatalog(NamedTuple):
    """What the benchmark searches, and with what.

    Attributes:
        item_vectors: Unit length. Shape (n_items, d), float32.
        interests: Unit length. Shape (n_users, k, d), float32.
    """

    item_vectors: Floats
    interests: Floats


def make_catalog(
    dataset_path: Path, n_items: int, *, k: int, n_users: int, seed: int = 0
) -> LearnedCatalog:
    """Make a catalog.

    Args:
        dataset_path: What ``python -m model prepare`` wrote.
        n_items: Items wanted; fewer than the log has are its most popular ones.
        k: Interests per user.
        n_users: Users wanted; those with enough interactions, drawn by chance.
        seed: Of all that is drawn.
    """
    dataset = Dataset.open(dataset_path)
    rng = np.random.default_rng(seed)
    known = pmi_vectors(
        dataset.items,
        dataset.offsets[:-1],
        dataset.train_end,
        n_items=dataset.n_items,
        dim=DIM,
        random=rng,
    )
    interests = _interests(dataset, known, k, n_users, rng)
    return LearnedCatalog(expand(known, n_items, rng).vectors, interests)


class Expanded(NamedTuple):
    """A log's items, or its first ones, and more that are like them.

    Attributes:
        vectors: Unit length. Shape (n_items, d), float32.
        origins: The log's item that each is, or lies near to. Shape (n_items,), int64.
    """

    vectors: Floats
    origins: Rows


def expand(known: Floats, n_items: int, rng: np.random.Generator) -> Expanded:
    """Take the first items, or add others between near neighbours.

    Args:
        known: The log's items. Shape (n, d), float32.
        n_items: Items wanted.
        rng: For what is drawn.
    """
    if n_items <= len(known):
        return Expanded(np.ascontiguousarray(known[:n_items]), np.arange(n_items))
    index = faiss.IndexFlatIP(known.shape[1])
    index.add(known)
    neighbours = index.search(known, _NEIGHBOURS + 1)[1][:, 1:]
    n_new = n_items - len(known)
    one = rng.integers(len(known), size=n_new)
    other = neighbours[one, rng.integers(_NEIGHBOURS, size=n_new)]
    share = rng.random((n_new, 1), dtype=np.float32)
    noise = rng.standard_normal((n_new, known.shape[1]), dtype=np.float32)
    new = (1 - share) * known[one] + share * known[other]
    new += noise * np.float32(_NOISE / np.sqrt(known.shape[1]))
    origins = np.concatenate((np.arange(len(known)), np.where(share[:, 0] < 0.5, one, other)))
    return Expanded(np.concatenate((known, _unit(new))), origins)


def _interests(
    dataset: Dataset, vectors: Floats, k: int, n_users: int, rng: np.random.Generator
) -> Floats:
    """Split histories into k parts of near items. Shape (n_users, k, d), float32."""
    begins, ends = dataset.offsets[:-1], dataset.train_end
    enough = np.flatnonzero(ends - begins >= 2 * k)
    users = rng.choice(enough, n_users, replace=len(enough) < n_users)
    interests = []
    for user in users.tolist():
        history = vectors[dataset.items[begins[user] : ends[user]][-_LONGEST:]]
        means = history[rng.choice(len(history), k, replace=False)]
        for _ in range(_ROUNDS):  # of k-means
            part = (history @ means.T).argmax(axis=1)
            means = np.stack(
                [
                    history[part == each].mean(axis=0) if (part == each).any() else means[each]
                    for each in range(k)
                ]
            )
        interests.append(_unit(means))
    return np.stack(interests)


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit.astype(np.float32)
