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

    An interest that a history does not use may be served as a copy of one that it uses (MIND,
    Octopus), so that all users have k. Copies are no pairs: a user's distinct interests count.

    Attributes:
        distinct: Distinct interests of a user, averaged over all users.
        cosine: Mean cosine of the pairs of a user's distinct interests, averaged over the users
            who have two at least; NaN where nobody has.
        overlap: Mean Jaccard overlap of the pairs of their own best 50 items, likewise.
        shares: Share of all interactions that interest j holds (hard assignment); j by j, so that
            a model whose interests collapsed has one near 1. Shape (k,), float64.
    """

    distinct: float
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
    cosines, overlaps, distinct = [], [], []
    counts = np.zeros(encoder.n_interests)
    for begin in range(0, len(histories), _BLOCK):
        users = histories[begin : begin + _BLOCK]
        encoded = encoder.encode_batch(users)
        counts += np.sum([interests.counts for interests in encoded], axis=0)
        vectors = torch.from_numpy(np.stack([interests.vectors for interests in encoded]))
        is_distinct = _is_distinct(vectors)
        distinct.append(is_distinct.sum(1))
        is_pair = _pairs(is_distinct)
        cosines.append(_mean_over_pairs(_cosines(vectors), is_pair))
        overlaps.append(_mean_over_pairs(_overlaps(vectors, item_vectors, users), is_pair))
    return InterestMeasures(
        float(torch.cat(distinct).double().mean()),
        float(torch.cat(cosines).nanmean()),
        float(torch.cat(overlaps).nanmean()),
        counts / max(counts.sum(), 1),
    )


def _is_distinct(vectors: Tensor) -> Tensor:
    """Whether no interest before it is the same to the last bit. Shape (batch, k), bool."""
    is_same = (vectors.unsqueeze(2) == vectors.unsqueeze(1)).all(3)
    return ~is_same.tril(-1).any(2)


def _pairs(is_distinct: Tensor) -> Tensor:
    """Which pairs are of two distinct interests, each pair once. Shape (batch, k, k), bool."""
    return (is_distinct.unsqueeze(2) & is_distinct.unsqueeze(1)).triu(1)


def _mean_over_pairs(values: Tensor, is_pair: Tensor) -> Tensor:
    """Average each user's pairs, of shape (batch, k, k); NaN without any. Shape (batch,)."""
    return (values.double() * is_pair).sum((1, 2)) / is_pair.sum((1, 2))


def _cosines(vectors: Tensor) -> Tensor:
    """Of all pairs of rows, of vectors of shape (batch, k, d). Shape (batch, k, k)."""
    unit = torch.nn.functional.normalize(vectors, dim=2)
    return unit @ unit.transpose(1, 2)


def _overlaps(vectors: Tensor, item_vectors: Tensor, histories: Sequence[Rows]) -> Tensor:
    """Jaccard overlap of the best items of interests; above the diagonal. Shape (batch, k, k)."""
    n_users, k, _ = vectors.shape
    n_items = len(item_vectors)
    depth = min(LIST_LENGTH, n_items)
    lists = [best_items(vectors[:, j] @ item_vectors.T, histories, depth) for j in range(k)]
    # One number for each (user, item), so that one call compares the lists of all users.
    user = np.arange(n_users)[:, np.newaxis]
    keys = [np.where(rows >= 0, user * n_items + rows, -1) for rows in lists]
    overlaps = np.zeros((n_users, k, k))
    for first in range(k):
        for second in range(first + 1, k):
            is_listed = keys[first] >= 0
            common = (np.isin(keys[first], keys[second]) & is_listed).sum(axis=1)
            either = is_listed.sum(axis=1) + (keys[second] >= 0).sum(axis=1) - common
            overlaps[:, first, second] = common / np.maximum(either, 1)
    return torch.from_numpy(overlaps)
