"""Small histories with repetitions, and what loops make of them."""

import numpy as np
import pytest

from model.arrays import Rows

N_ITEMS = 23


@pytest.fixture
def histories() -> list[Rows]:
    """Some users; popular items come first, item 22 never comes, some come twice."""
    random = np.random.default_rng(0)
    share = 1 / np.arange(1, N_ITEMS)
    share /= share.sum()
    return [
        random.choice(N_ITEMS - 1, size=int(random.integers(1, 12)), p=share) for _ in range(60)
    ]


@pytest.fixture
def binary(histories: list[Rows]) -> np.ndarray:
    """The same as users × items of ones and zeros, float64."""
    matrix = np.zeros((len(histories), N_ITEMS))
    for user, history in enumerate(histories):
        matrix[user, history] = 1
    return matrix
