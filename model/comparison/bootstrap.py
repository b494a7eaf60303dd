"""Whether one model is better than another, or the users who happen to be there make it look so."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

RESAMPLES = 10_000
LEVEL = 0.95

_BLOCK = 4_000_000
"""Resampled values at once: 32 MB."""


class Interval(NamedTuple):
    """A mean difference over users, and what it might be with other users of the same kind.

    Attributes:
        difference: The mean.
        low: Lower end of the interval of level ``LEVEL``.
        high: Upper end.
    """

    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Say what the interval tells."""
        if self.low > 0:
            return "ahead"
        return "behind" if self.high < 0 else "not told apart"


def paired_intervals(differences: Sequence[NDArray[np.float64]]) -> list[Interval]:
    """Return percentile intervals of mean differences by resampling users (Efron, 1979).

    All pairs of models are resampled by the same draws of users.

    Args:
        differences: For each pair of models, the difference of each user's metric.
            Each of shape (n_users,), float64.
    """
    if not differences:
        return []
    values = np.stack(differences)
    n_users = values.shape[1]
    means = values.mean(axis=1)
    if n_users == 1:  # nothing to resample
        return [Interval(float(mean), -np.inf, np.inf) for mean in means]
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, _BLOCK // values.size),
        confidence_level=LEVEL,
        method="percentile",
        axis=1,
        vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return [
        Interval(float(mean), float(low), float(high))
        for mean, low, high in zip(means, found.low, found.high, strict=True)
    ]
