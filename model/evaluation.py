"""Recall, hit rate and NDCG over the full catalog (arXiv 2407.14741: evaluation protocol).

Search is exact; the history is left out; the K best distinct items count. Where interests score, an
item counts with its best one.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.arrays import Rows
from model.histories import ragged_ranges

Metrics = dict[str, float]

CUTOFFS = (10, 20, 50, 100, 200)

# Scores of a block of users over the whole catalog: 2^25 float32 are 128 MiB. A scorer may need
# the same once more.
_MAX_BLOCK = 2**25
_MAX_USERS = 1024

Encode = Callable[[Sequence[Rows]], Tensor]
Score = Callable[[Sequence[Rows]], Tensor]


def evaluate(
    encode: Encode, item_vectors: Tensor, histories: Sequence[Rows], targets: Sequence[Rows]
) -> Metrics:
    """Average the metrics over users, whose scores are the maximum over their interests.

    Args:
        encode: Histories to interests, shape (batch, k, d).
        item_vectors: Shape (n_items, d), float32.
        histories: Each user's item rows, oldest first.
        targets: Each user's distinct target rows, none of them in the history; never empty.

    Returns:
        See ``evaluate_scores``.
    """

    def score(batch: Sequence[Rows]) -> Tensor:
        return _best_over_interests(encode(batch), item_vectors)

    return evaluate_scores(score, len(item_vectors), histories, targets)


@torch.no_grad()
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
    if not histories:
        return {"users": 0}
    depth = min(max(CUTOFFS), n_items)
    hits = np.zeros((len(histories), max(CUTOFFS)), dtype=np.bool_)
    n_targets = np.array([len(target) for target in targets])
    block = max(1, min(_MAX_USERS, _MAX_BLOCK // n_items))
    for begin in range(0, len(histories), block):
        users = slice(begin, begin + block)
        best = _best_items(score(histories[users]), histories[users], depth)
        hits[users, :depth] = _is_target(best, targets[users], n_items)
    return _average(hits, n_targets)


def _best_over_interests(interests: Tensor, item_vectors: Tensor) -> Tensor:
    """Score all items by their best interest. Shape (batch, n_items)."""
    scores = interests[:, 0] @ item_vectors.T
    # One interest after the other: all k at once would take k times the memory.
    for interest in interests[:, 1:].unbind(1):
        torch.maximum(scores, interest @ item_vectors.T, out=scores)
    return scores


def _best_items(scores: Tensor, histories: Sequence[Rows], depth: int) -> Rows:
    """Rows of the best items outside the history, best first. Shape (batch, depth), int64.

    Where fewer than ``depth`` items are left, the row is −1.
    """
    lengths = np.array([len(history) for history in histories])
    users = np.repeat(np.arange(len(histories)), lengths)
    scores[torch.from_numpy(users), torch.from_numpy(np.concatenate(histories))] = -torch.inf
    top = scores.topk(depth, dim=1)
    rows: Rows = torch.where(top.values == -torch.inf, -1, top.indices).cpu().numpy()
    return rows


def _is_target(best: Rows, targets: Sequence[Rows], n_items: int) -> NDArray[np.bool_]:
    lengths = np.array([len(target) for target in targets])
    users, _ = ragged_ranges(np.zeros_like(lengths), lengths)
    # One number per (user, item) lets one call answer for the whole batch.
    wanted = users * n_items + np.concatenate(targets)
    found = np.arange(len(best))[:, None] * n_items + best
    return np.isin(np.where(best >= 0, found, -1), wanted)


def _average(hits: NDArray[np.bool_], n_targets: Rows) -> Metrics:
    discount = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    ideal = np.concatenate(([0.0], np.cumsum(discount)))
    metrics: Metrics = {}
    for cutoff in CUTOFFS:
        top = hits[:, :cutoff]
        found = top.sum(1)
        gain = top @ discount[:cutoff]
        metrics[f"recall@{cutoff}"] = float((found / n_targets).mean())
        metrics[f"hitrate@{cutoff}"] = float((found > 0).mean())
        metrics[f"ndcg@{cutoff}"] = float((gain / ideal[np.minimum(n_targets, cutoff)]).mean())
    return {**metrics, "users": len(hits)}
