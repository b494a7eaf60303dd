"""Metrics among a few sampled items instead of the whole catalog, as many papers report them.

Each target competes with N items drawn evenly from those that its user has not had (SASRec, arXiv
1808.09781, section IV.C: N = 100). Such figures are far larger than those of full ranking, and may
order models otherwise (Krichene and Rendle, KDD 2020): they serve to be set beside a paper's.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from model.arrays import Rows
from model.errors import InputError
from model.evaluation import Metrics, Score, averaged, blocks_of_users, joined

SAMPLED_CUTOFFS = (1, 5, 10)


@torch.no_grad()
def evaluate_among_sampled(
    score: Score,
    n_items: int,
    histories: Sequence[Rows],
    targets: Sequence[Rows],
    *,
    n_negatives: int,
) -> Metrics:
    """Rank each target among negatives of its user; average over targets, then over users.

    The same negatives each time: they are drawn by a seed of their own. A negative with the
    target's score counts as half above it.

    Args:
        score: Histories to the scores of all items, shape (batch, n_items), float32.
        n_items: Items in the catalog.
        histories: Each user's item rows, oldest first.
        targets: Each user's distinct target rows, none of them in the history; never empty.
        n_negatives: N.

    Returns:
        ``hitrate@K``, ``ndcg@K`` for the K of ``SAMPLED_CUTOFFS`` and ``mrr`` (mean reciprocal
        rank), fractions, and ``users``, how many were averaged.

    Raises:
        InputError: Some user has had so many items that N others are not left.
    """
    random = np.random.default_rng(0)
    blocks: list[dict[str, NDArray[np.float64]]] = []
    for users in blocks_of_users(len(histories), n_items):
        scores = score(histories[users]).cpu().numpy()
        measured = [
            _measure(_ranks(own, target, _draw(n_items, history, target, n_negatives, random)))
            for own, history, target in zip(scores, histories[users], targets[users], strict=True)
        ]
        blocks.append({name: np.array([each[name] for each in measured]) for name in measured[0]})
    return averaged(joined(blocks))


def _draw(
    n_items: int, history: Rows, targets: Rows, n_negatives: int, random: np.random.Generator
) -> Rows:
    """Draw N distinct items that are neither in the history nor targets, for each target."""
    had = np.unique(np.concatenate((history, targets)))
    if n_items - len(had) < n_negatives:
        raise InputError(
            f"--negatives is {n_negatives}, but a user has had {len(had)} of {n_items} items; "
            f"expected {n_items - len(had)} or fewer"
        )
    drawn = [random.choice(n_items - len(had), n_negatives, replace=False) for _ in targets]
    # The n-th of the items that were not had: each one that was, at or before it, moves it on.
    skipped = np.searchsorted(had - np.arange(len(had)), np.stack(drawn), side="right")
    rows: Rows = np.stack(drawn) + skipped
    return rows


def _ranks(scores: NDArray[np.float32], targets: Rows, negatives: Rows) -> NDArray[np.float64]:
    """Return how many negatives come before each target. Shape (n_targets,)."""
    own, others = scores[targets][:, None], scores[negatives]
    ranks: NDArray[np.float64] = (others > own).sum(1) + (others == own).sum(1) / 2
    return ranks


def _measure(ranks: NDArray[np.float64]) -> dict[str, float]:
    """Average over a user's targets."""
    metrics = {"mrr": float((1 / (ranks + 1)).mean())}
    for cutoff in SAMPLED_CUTOFFS:
        hits = ranks < cutoff
        metrics[f"hitrate@{cutoff}"] = float(hits.mean())
        metrics[f"ndcg@{cutoff}"] = float((hits / np.log2(ranks + 2)).mean())
    return metrics
