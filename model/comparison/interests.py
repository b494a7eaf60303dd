"""How far a user's interests are apart, and how much of the history each of them holds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.arrays import Rows
from model.evaluation import best_items
from model.inference.encoder import UserEncoder

LIST_LENGTH = 50

_BLOCK = 256


class InterestMeasures(NamedTuple):
    """Of a model that makes several vectors of a history.

    Attributes:
        cosine: Mean cosine of the pairs of a user's interests, averaged over users.
        overlap: Mean Jaccard overlap of the pairs of their own best 50 items, likewise.
        shares: Share of all interactions that interest j holds (hard assignment); j by j, so that
            a model whose interests collapsed has one near 1. Shape (k,), float64.
    """

    cosine: float
    overlap: float
    shares: NDArray[np.float64]


@torch.no_grad()
def measure_interests(encoder: UserEncoder, histories: Sequence[Rows]) -> InterestMeasures | None:
    """Measure the interests of users; None for a model with a single vector, or without users.

    Args:
        encoder: The model.
        histories: Of the users, oldest interaction first.
    """
    if encoder.n_interests == 1 or not histories:
        return None
    item_vectors = torch.tensor(encoder.item_vectors)
    cosines, overlaps = [], []
    counts = np.zeros(encoder.n_interests)
    for begin in range(0, len(histories), _BLOCK):
        users = histories[begin : begin + _BLOCK]
        encoded = encoder.encode_batch(users)
        counts += np.sum([interests.counts for interests in encoded], axis=0)
        vectors = torch.from_numpy(np.stack([interests.vectors for interests in encoded]))
        cosines.append(_pairwise_cosine(vectors))
        overlaps.append(_pairwise_overlap(vectors, item_vectors, users))
    return InterestMeasures(
        float(torch.cat(cosines).mean()),
        float(np.concatenate(overlaps).mean()),
        counts / max(counts.sum(), 1),
    )


def _pairwise_cosine(vectors: Tensor) -> Tensor:
    """Mean over pairs of rows, of vectors of shape (batch, k, d). Shape (batch,)."""
    k = vectors.shape[1]
    unit = torch.nn.functional.normalize(vectors, dim=2)
    cosine = unit @ unit.transpose(1, 2)
    first, second = torch.triu_indices(k, k, offset=1)
    return cosine[:, first, second].mean(1)


def _pairwise_overlap(
    vectors: Tensor, item_vectors: Tensor, histories: Sequence[Rows]
) -> NDArray[np.float64]:
    """Mean Jaccard overlap of the best items of each pair of interests. Shape (batch,)."""
    n_users, k, _ = vectors.shape
    n_items = len(item_vectors)
    depth = min(LIST_LENGTH, n_items)
    lists = [best_items(vectors[:, j] @ item_vectors.T, histories, depth) for j in range(k)]
    # One number for each (user, item), so that one call compares the lists of all users.
    user = np.arange(n_users)[:, np.newaxis]
    keys = [np.where(rows >= 0, user * n_items + rows, -1) for rows in lists]
    totals = np.zeros(n_users)
    for first in range(k):
        for second in range(first + 1, k):
            is_listed = keys[first] >= 0
            common = (np.isin(keys[first], keys[second]) & is_listed).sum(axis=1)
            either = is_listed.sum(axis=1) + (keys[second] >= 0).sum(axis=1) - common
            totals += common / np.maximum(either, 1)
    return totals / (k * (k - 1) / 2)
