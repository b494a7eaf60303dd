"""Vectors for items that no training has seen yet. Pure NumPy.

A new item gets the mean of items that it is like: those that somebody named (``similar_to``), else
those of its categories. The mean is not scaled back to the length of a trained vector. Its inner
product with an interest is then what those items score on average, so that a new item is expected
to score as they do; of full length, a mean beats the very items that it is made of, since what sets
them apart is averaged away. Measured on MovieLens 100K with a tenth of the items made cold: means
of their genres at unit length took 40 % of all answers, and recall fell by a fifth
(docs/benchmarks.md).

Means over whole categories are so short that they would never be found. Their length is therefore
stretched until cold items take the share of the answers that they have of the catalog.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.arrays import Floats, Mask, Rows

PULL = 0.1
"""How far a new item is drawn towards the hyper-category that it belongs to."""

_HALVINGS = 30
_LEAST_LENGTH = 1e-6


def mean_vectors(item_vectors: Floats, groups: Sequence[Rows]) -> Floats:
    """Average the vectors of each group of rows.

    Args:
        item_vectors: Shape (n_items, d), float32.
        groups: Item rows, at least one in each.

    Returns:
        Shape (n_groups, d), float32.
    """
    lengths = np.array([len(group) for group in groups])
    starts = np.cumsum(lengths) - lengths
    sums = np.add.reduceat(item_vectors[np.concatenate(groups)], starts, axis=0)
    means: Floats = (sums / lengths[:, np.newaxis]).astype(np.float32)
    return means


def pulled(means: Floats, hyper_categories: Floats | None) -> Floats:
    """Draw vectors towards the hyper-category that they point along most; lengths stay.

    Of a model without hyper-categories they stay as they are.

    Args:
        means: Shape (n, d), float32.
        hyper_categories: C, unit-length rows. Shape (k, d), float32. None: there are none.

    Returns:
        Shape (n, d), float32.
    """
    if hyper_categories is None:
        return means
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    directions = means / np.maximum(lengths, _LEAST_LENGTH)
    nearest = hyper_categories[(directions @ hyper_categories.T).argmax(axis=1)]
    directions = (1 - PULL) * directions + PULL * nearest
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    result: Floats = (lengths * directions).astype(np.float32)
    return result


def stretched(
    vectors: Floats,
    may_stretch: Mask,
    interests: Floats,
    cuts: Floats,
    *,
    share: float,
    top: int,
    longest: float = 1.0,
) -> Floats:
    """Lengthen vectors until they take their share of real answers, at most to a length L.

    A length l becomes L (l / L)^t; t goes from 1 (as it is) to 0 (L).

    Args:
        vectors: Of the new items. Shape (n, d), float32.
        may_stretch: Which ones may be lengthened; the others count as they are.
            Shape (n,), bool.
        interests: Of real users. Shape (u, k, d), float32.
        cuts: The score that an item needs to be among a user's answers. Shape (u,), float32.
        share: New items' share of the catalog that they come into, 0 to 1.
        top: Answers for each user.
        longest: L: 1 where trained vectors are of unit length.

    Returns:
        Shape (n, d), float32.
    """
    lengths = np.linalg.norm(vectors, axis=1) / np.float32(longest)
    scores = np.stack([(user @ vectors.T).max(axis=0) for user in interests])

    def factors(t: float) -> NDArray[np.float64]:
        stretch = np.maximum(lengths, _LEAST_LENGTH) ** (t - 1.0)
        return np.where(may_stretch & (lengths < 1), stretch, 1.0)

    def is_fair(t: float) -> bool:
        taken = (scores * factors(t) >= cuts[:, np.newaxis]).sum()
        return bool(taken <= share * top * len(interests))

    low, high = 0.0, 1.0  # high is as they are
    if is_fair(low):
        high = low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_fair(middle) else (middle, high)
    result: Floats = (vectors * factors(high)[:, np.newaxis]).astype(np.float32)
    return result
