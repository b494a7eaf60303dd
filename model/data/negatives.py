"""Which items a step's positives compete with: all of the catalog, or some of it."""

from typing import NamedTuple, Protocol

import numpy as np

from model.arrays import Floats, Rows

FULL_SOFTMAX_ITEMS = 4096
"""Up to so many items a step takes the whole catalog: it costs little more than a sample."""
SAMPLED_NEGATIVES = 2048
POPULARITY_POWER = 0.5
"""Between drawing evenly, which sees the frequent rivals too seldom, and by popularity."""


class Negatives(NamedTuple):
    """Items shared by a batch.

    Attributes:
        rows: Distinct item rows. Shape (N,), int64.
        log_weights: What to add to their scores so that the sum of exp(score) estimates that of
            the whole catalog; None: nothing. Shape (N,), float32.
    """

    rows: Rows
    log_weights: Floats | None


class NegativeSampler(Protocol):
    """Draws the negatives of one batch."""

    def draw(self, random: np.random.Generator) -> Negatives:
        """Draw."""


class WholeCatalog:
    """Every item, every time: the full softmax.

    Args:
        n_items: Items in the catalog.
    """

    def __init__(self, n_items: int) -> None:
        self._negatives = Negatives(np.arange(n_items), None)

    def draw(self, random: np.random.Generator) -> Negatives:  # noqa: ARG002
        """See ``NegativeSampler.draw``."""
        return self._negatives


class EvenNegatives:
    """Drawn evenly, without repetition and without weights: the paper's.

    Args:
        n_items: Items in the catalog.
        n_negatives: N; at most the catalog.
    """

    def __init__(self, n_items: int, n_negatives: int) -> None:
        self._n_items = n_items
        self._n_negatives = min(n_negatives, n_items)

    def draw(self, random: np.random.Generator) -> Negatives:
        """See ``NegativeSampler.draw``."""
        return Negatives(random.choice(self._n_items, self._n_negatives, replace=False), None)


class PopularNegatives:
    """Drawn in proportion to popularity^½, weighted so that the softmax stays that of the catalog.

    An item drawn c times out of N with probability q each time counts c / (N q): the sum over the
    sample of weight · exp(score) is then an unbiased estimate of the sum over all items (Bengio and
    Senécal, "Adaptive Importance Sampling", 2008).

    Args:
        interactions: Training interactions of each item. Shape (n_items,), int64.
        n_negatives: N draws; those that hit the same item count as one negative.
    """

    def __init__(self, interactions: Rows, n_negatives: int) -> None:
        weights = np.maximum(interactions, 1) ** POPULARITY_POWER
        self._probability = weights / weights.sum()
        self._cumulative = np.cumsum(self._probability)
        self._n_negatives = n_negatives

    def draw(self, random: np.random.Generator) -> Negatives:
        """See ``NegativeSampler.draw``."""
        # In order: a search that goes on where the last one ended finds its memory in the cache.
        points = np.sort(random.random(self._n_negatives))
        drawn = np.searchsorted(self._cumulative, points, side="right")
        # Rounding may leave the last sum below 1.
        rows, counts = np.unique(np.minimum(drawn, len(self._cumulative) - 1), return_counts=True)
        weights = counts / (self._n_negatives * self._probability[rows])
        return Negatives(rows, np.log(weights).astype(np.float32))
