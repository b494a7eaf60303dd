"""What variety costs a model: its lists, chosen for more and more of it.

A model's lists may be more varied only because they are less right. Chosen for variety, those of
another one can be compared with them where both are as right: at equal recall.
"""

from collections.abc import Sequence

import numpy as np
import torch

from model.arrays import Floats, Rows
from model.comparison.diversity import CUTOFFS, Lists, measure_lists
from model.comparison.reference import Reference
from model.data.dataset import Sequences
from model.evaluation import Score, best_items, measure_best
from model.marginal_relevance import choose_varied, pool_size

LENGTH = max(CUTOFFS)
DIVERSITIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""As in a request to the service."""
SOME_USERS = 10_000
"""Users whose interests are looked at and whose lists are chosen for variety, the same ones for all
models. OPAL's Recall@50 on Yelp is 0.134 over 2,000 of them, 0.136 over these, 0.138 over all: by
2,000 a model's place says less about it than the draw."""
_BLOCK = 256


def measure_varied_lists(
    score: Score, item_vectors: Floats | None, users: Sequences, reference: Reference
) -> list[dict[str, float]]:
    """Measure lists of 50 for each of ``DIVERSITIES``; empty without users.

    Args:
        score: Scores items.
        item_vectors: What likeness is measured by: the model's own, as in the service. None: it
            has none, and its lists are measured as they are. Shape (n_items, d), float32.
        users: Their histories and targets.
        reference: Of the catalog.

    Returns:
        For each: ``diversity``, ``recall@50``, ``hitrate@50``, ``ndcg@50`` and what
        ``measure_lists`` returns for K = 50.
    """
    if not users.histories:
        return []
    diversities = DIVERSITIES[:1] if item_vectors is None else DIVERSITIES
    n_items = len(reference.interactions)
    lists = _lists(score, item_vectors, users.histories, n_items, diversities)
    return [
        {
            "diversity": diversity,
            **_accuracy(chosen, users.targets, n_items),
            **measure_lists(chosen, reference, [LENGTH]),
        }
        for diversity, chosen in zip(diversities, lists, strict=True)
    ]


def _accuracy(lists: Lists, targets: Sequence[Rows], n_items: int) -> dict[str, float]:
    found = measure_best(lists.astype(np.int64), targets, n_items)
    names = [f"{kind}@{LENGTH}" for kind in ("recall", "hitrate", "ndcg")]
    return {name: float(found[name].mean()) for name in names}


@torch.no_grad()
def _lists(
    score: Score,
    item_vectors: Floats | None,
    histories: Sequence[Rows],
    n_items: int,
    diversities: Sequence[float],
) -> list[Lists]:
    """Choose each user's list, once for each diversity. Each of shape (n_users, 50), int32."""
    lists = [np.full((len(histories), LENGTH), -1, dtype=np.int32) for _ in diversities]
    for begin in range(0, len(histories), _BLOCK):
        block = histories[begin : begin + _BLOCK]
        scores = score(block)
        pools = best_items(scores, block, min(pool_size(LENGTH), n_items))
        for user, row in enumerate(pools):
            pool = row[row >= 0]
            of_pool = scores[user].cpu().numpy()[pool]
            vectors = None if item_vectors is None else item_vectors[pool]
            for diversity, chosen in zip(diversities, lists, strict=True):
                best = pool[:LENGTH]
                if diversity and vectors is not None:
                    best = pool[choose_varied(of_pool, vectors, diversity, len(best))]
                chosen[begin + user, : len(best)] = best
    return lists
