"""Vectors of histories of different lengths in one array, for what runs over whole sequences."""

from typing import NamedTuple

import torch
from torch import Tensor


class LaidOutHistories(NamedTuple):
    """Histories laid one after the other, the oldest interaction first.

    Attributes:
        vectors: e of each interaction. Shape (n, d), float32.
        lengths: Interactions of each history. Shape (batch,), int64.
        ages: As of ``PaddedHistories``. Shape (n,), int64.
    """

    vectors: Tensor
    lengths: Tensor
    ages: Tensor

    def sequences(self) -> tuple[Tensor, Tensor, Tensor, int]:
        """Return what ``model.layers.gru`` runs a GRU over.

        Returns:
            e of each interaction, shape (n, d), float32; their rows and users, each of shape (n,),
            int64; and how many users there are.
        """
        rows = torch.arange(len(self.vectors), device=self.vectors.device)
        return self.vectors, rows, torch.repeat_interleave(self.lengths), len(self.lengths)


class PaddedHistories(NamedTuple):
    """Histories laid into one array, the oldest interaction first, padding on the right.

    Attributes:
        vectors: e of each interaction, 0 where there is none. Shape (batch, length, d), float32.
        is_item: Where there is an interaction. Shape (batch, length), bool.
        ages: 0 for the newest interaction of a user, then 1, 2, …; 0 where there is none. In
            training, interactions that were dropped count. Shape (batch, length), int64.
    """

    vectors: Tensor
    is_item: Tensor
    ages: Tensor

    def laid_out(self) -> LaidOutHistories:
        """Return them one after the other."""
        is_item = self.is_item
        return LaidOutHistories(self.vectors[is_item], is_item.sum(1), self.ages[is_item])


def pad(vectors: Tensor, rows: Tensor, lengths: Tensor, ages: Tensor) -> PaddedHistories:
    """Lay ragged histories into one array.

    Args:
        vectors: Of distinct items. Shape (U, d), float32.
        rows: Of ``vectors``, user after user, oldest first. Shape (n,), int64.
        lengths: Of each user. Shape (batch,), int64.
        ages: Shape (n,), int64.
    """
    longest = int(lengths.max()) if len(lengths) else 0
    is_item = torch.arange(longest, device=lengths.device) < lengths.unsqueeze(1)
    padded = vectors.new_zeros((*is_item.shape, vectors.shape[1]))
    padded = padded.masked_scatter(is_item.unsqueeze(2), vectors.index_select(0, rows))
    padded_ages = ages.new_zeros(is_item.shape).masked_scatter(is_item, ages)
    return PaddedHistories(padded, is_item, padded_ages)
