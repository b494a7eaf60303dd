"""Parts of different lengths, for tests of what runs over them."""

import pytest
import torch
from torch import Tensor

DIM = 6
N_VECTORS = 17

# Lengths of the parts: real logs have a few long ones, many short ones, and empty ones.
LENGTHS = {
    "skewed": [40, 1, 1, 0, 2, 1, 3, 9, 1, 0, 1, 2, 17, 1],
    "equal": [5] * 8,
    "one of each": list(range(25)),
    "one long": [0, 0, 31, 0],
    "single interactions": [1] * 9,
}
every_kind = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())


def draw_rows(n: int) -> Tensor:
    return torch.randint(N_VECTORS, (n,), generator=torch.Generator().manual_seed(0))


def draw_vectors(dim: int = DIM, seed: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(N_VECTORS, dim, generator=random, dtype=torch.float64).requires_grad_()
