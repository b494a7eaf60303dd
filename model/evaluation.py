"""Recall, hit rate and NDCG over the full catalog (arXiv 2407.14741: evaluation protocol).

Search is exact; the history is left out; the K best distinct items count. Where interests score, an
item counts with its best one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.arrays import Mask, Rows
from model.data.histories import ragged_ranges
from model.inference.encoder import UserEncoder

Metrics = dict[str, float]

CUTOFFS = (10, 20, 50, 100, 200)

# Scores of a block of users over the whole catalog: 2^25 float32 are 128 MiB. A scorer may need
# the same once more.
_MAX_BLOCK = 2**25
_MAX_USERS = 1024

Encode = Callable[[Sequence[Rows]], Tensor]
Score = Callable[[Sequence[Rows]], Tensor]


class UserMetrics(NamedTuple):
    """Metrics of each user, and what they were measured on.

    Attributes:
        values: By name (see ``evaluate_scores``); fractions. Each of shape (n_users,), float64.
        best: Rows of the best items outside the history, best first; −1 where the catalog is used
            up. Shape (n_users, kept), int32.
    """

    values: dict[str, NDArray[np.float64]]
    best: NDArray[np.int32]

    def average(self) -> Metrics:
        """See ``averaged``."""
        return averaged(self.values)


def averaged(values: Mapping[str, NDArray[np.float64]]) -> Metrics:
    """Return the means over users, and ``users``, how many were averaged.

    Args:
        values: By name; nothing where there are no users. Each of shape (n_users,), float64.
    """
    means: Metrics = {name: float(each.mean()) for name, each in values.items()}
    return {**means, "users": len(next(iter(values.values()), ()))}


def score_by_interests(encode: Encode, item_vectors: Tensor) -> Score:
    """Make what scores items by the best interest of a user.

    Args:
        encode: Histories to interests, shape (batch, k, d).
        item_vectors: Shape (n_items, d), float32.
    """

    def score(histories: Sequence[Rows]) -> Tensor:
        return _best_over_interests(encode(histories), item_vectors)

    return score


def score_by_encoder(encoder: UserEncoder) -> Score:
    """Make what scores items by an encoder of the kind that the service uses."""

    def encode(histories: Sequence[Rows]) -> Tensor:
        return torch.stack(
            [torch.from_numpy(interests.vectors) for interests in encoder.encode_batch(histories)]
        )

    # A copy, because torch warns of arrays that are read-only as those of a file are.
    return score_by_interests(encode, torch.tensor(encoder.item_vectors))


def evaluate_scores(
    score: Score, n_items: int, histories: Sequence[Rows], targets: Sequence[Rows]
) -> Metrics:
    """Average the metrics over users, whatever scores their items.

    Args:
        score: Histories to the scores of all items, shape (batch, n_items), float32; larger is
            better. The evaluation writes into what it returns.
        n_items: Items in the catalog.
        histories: Each user's item rows, oldest first.
        targets: Each user's distinct target rows, none of them in the history; never empty.

    Returns:
        ``recall@K``, ``hitrate@K``, ``ndcg@K`` for the K of ``CUTOFFS``, fractions, and
        ``users``, how many were averaged. Without users, ``{"users": 0}``.
    """
    return evaluate_users(score, n_items, histories, targets, kept=0).average()


@torch.no_grad()
def evaluate_users(
    score: Score, n_items: int, histories: Sequence[Rows], targets: Sequence[Rows], *, kept: int
) -> UserMetrics:
    """Measure each user; see ``evaluate_scores``.

    Args:
        score: As there.
        n_items: As there.
        histories: As there.
        targets: As there.
        kept: How many of each user's best items are returned, at most the largest cutoff.
    """
    depth = min(max(CUTOFFS), n_items)
    best_kept = np.full((len(histories), kept), -1, dtype=np.int32)
    blocks = []
    for users in blocks_of_users(len(histories), n_items):
        best = best_items(score(histories[users]), histories[users], depth)
        best_kept[users, :depth] = best[:, :kept]
        blocks.append(measure_best(best, targets[users], n_items))
    return UserMetrics(joined(blocks), best_kept)


@torch.no_grad()
def evaluate_lengths(
    score: Score,
    n_items: int,
    histories: Sequence[Rows],
    targets: Sequence[Rows],
    lengths: Sequence[Tensor],
) -> list[dict[str, NDArray[np.float64]]]:
    """Measure each user as if item vectors were of other lengths, for several of these.

    Items are scored once for all.

    Args:
        score: See ``evaluate_scores``; so are the other arguments that are not told here.
        n_items: Items in the catalog.
        histories: Each user's item rows.
        targets: Each user's target rows.
        lengths: What the scores of each item are multiplied by. Each of shape (n_items,), float32,
            on the device of the scores.

    Returns:
        For each of ``lengths``, the metrics by name; each of shape (n_users,), float64.
    """
    depth = min(max(CUTOFFS), n_items)
    blocks: list[list[dict[str, NDArray[np.float64]]]] = [[] for _ in lengths]
    for users in blocks_of_users(len(histories), n_items):
        scores = score(histories[users])
        for length, measured in zip(lengths, blocks, strict=True):
            best = best_items(scores * length, histories[users], depth)
            measured.append(measure_best(best, targets[users], n_items))
    return [joined(measured) for measured in blocks]


def blocks_of_users(n_users: int, n_items: int) -> Iterator[slice]:
    """Return parts of the users, so few that their scores of all items fit into memory.

    Args:
        n_users: How many there are.
        n_items: Items in the catalog.
    """
    block = max(1, min(_MAX_USERS, _MAX_BLOCK // n_items))
    for begin in range(0, n_users, block):
        yield slice(begin, begin + block)


def joined(blocks: Sequence[dict[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    """Return the metrics of all users, from those of parts of them; nothing without any part."""
    names = blocks[0] if blocks else ()
    return {name: np.concatenate([each[name] for each in blocks]) for name in names}


def _best_over_interests(interests: Tensor, item_vectors: Tensor) -> Tensor:
    """Score all items by their best interest. Shape (batch, n_items)."""
    scores = interests[:, 0] @ item_vectors.T
    # One interest after the other: all k at once would take k times the memory.
    for interest in interests[:, 1:].unbind(1):
        torch.maximum(scores, interest @ item_vectors.T, out=scores)
    return scores


def best_items(scores: Tensor, histories: Sequence[Rows], depth: int) -> Rows:
    """Return rows of the best items outside the history, best first. Shape (batch, depth), int64.

    Where fewer than ``depth`` items are left, the row is −1.

    Args:
        scores: Written into. Shape (batch, n_items), float32.
        histories: Each user's item rows.
        depth: At most n_items.
    """
    lengths = np.array([len(history) for history in histories])
    users = np.repeat(np.arange(len(histories)), lengths)
    scores[torch.from_numpy(users), torch.from_numpy(np.concatenate(histories))] = -torch.inf
    top = scores.topk(depth, dim=1)
    rows: Rows = torch.where(top.values == -torch.inf, -1, top.indices).cpu().numpy()
    return rows


def measure_best(
    best: Rows, targets: Sequence[Rows], n_items: int
) -> dict[str, NDArray[np.float64]]:
    """Return the metrics of each user's best items; those of K larger than ``depth`` lack some.

    Args:
        best: Item rows, best first; −1 for none. Shape (batch, depth), int64.
        targets: Each user's distinct target rows; never empty.
        n_items: Items in the catalog.

    Returns:
        By name (see ``evaluate_scores``); fractions. Each of shape (batch,), float64.
    """
    return _measure(_is_target(best, targets, n_items), targets)


def _is_target(best: Rows, targets: Sequence[Rows], n_items: int) -> Mask:
    lengths = np.array([len(target) for target in targets])
    users, _ = ragged_ranges(np.zeros_like(lengths), lengths)
    # One number per (user, item) lets one call answer for the whole batch.
    wanted = users * n_items + np.concatenate(targets)
    found = np.arange(len(best))[:, None] * n_items + best
    return np.isin(np.where(best >= 0, found, -1), wanted)


def _measure(hits: Mask, targets: Sequence[Rows]) -> dict[str, NDArray[np.float64]]:
    """Turn hits by rank, shape (batch, depth), into metrics, each of shape (batch,)."""
    n_targets = np.array([len(target) for target in targets])
    discount = 1 / np.log2(np.arange(max(CUTOFFS)) + 2)
    ideal = np.concatenate(([0.0], np.cumsum(discount)))
    metrics = {}
    for cutoff in CUTOFFS:
        top = hits[:, :cutoff]
        found = top.sum(1)
        gain = top @ discount[: top.shape[1]]
        metrics[f"recall@{cutoff}"] = found / n_targets
        metrics[f"hitrate@{cutoff}"] = (found > 0).astype(np.float64)
        metrics[f"ndcg@{cutoff}"] = gain / ideal[np.minimum(n_targets, cutoff)]
    return metrics
