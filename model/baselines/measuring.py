"""Measure a yardstick by the protocol that measures OPAL."""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.arrays import Rows
from model.baselines.baseline import Baseline
from model.data.dataset import Dataset, Sequences
from model.evaluation import Metrics, Score, evaluate_scores


def score_by_baseline(baseline: Baseline) -> Score:
    """Make what scores items for the evaluation."""

    def score(histories: Sequence[Rows]) -> Tensor:
        return torch.from_numpy(baseline.scores(histories))

    return score


def measure(baseline: Baseline, n_items: int, sequences: Sequences) -> Metrics:
    """Average the metrics over the users of one part.

    Args:
        baseline: What scores.
        n_items: Items in the catalog.
        sequences: The part's histories and targets.

    Returns:
        See ``evaluate_scores``.
    """
    return evaluate_scores(
        score_by_baseline(baseline), n_items, sequences.histories, sequences.targets
    )


def measure_parts(baseline: Baseline, dataset: Dataset) -> dict[str, Metrics]:
    """Measure a yardstick on ``valid`` and ``test``."""
    parts = {"valid": dataset.valid, "test": dataset.test}
    return {part: measure(baseline, dataset.n_items, users) for part, users in parts.items()}
