"""Padded histories, for tests of what runs over them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.layers.padded import PaddedHistories


def history_of(vectors: Tensor, ages: Sequence[int] | None = None) -> PaddedHistories:
    """One history of these vectors. Shape (1, length, d) and so on."""
    length = len(vectors)
    of_each = torch.tensor(range(length - 1, -1, -1) if ages is None else ages)
    is_item = torch.ones(1, length, dtype=torch.bool)
    return PaddedHistories(vectors.unsqueeze(0), is_item, of_each.unsqueeze(0))
