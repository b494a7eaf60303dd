"""Blocks of causal self-attention over histories (SASRec, arXiv 1808.09781, section III)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers.padded import LaidOutHistories

GROUPS = 8
"""Of histories by length, in attention."""


class CausalTransformer(nn.Module):
    """Self-attention blocks over items and positions; each state knows nothing of later items.

    Positions count from the newest interaction (its ``ages``), so that a history means the same
    however many were cut off before it.

    What is not attention runs over the interactions alone, without padding. Attention needs no
    mask against padding: it lies on the right, where no interaction looks.

    Args:
        dim: d.
        max_len: L; older positions share the last one's vector.
        n_blocks: b, at least 1.
        dropout: Share of the entries dropped of the input and of what each layer adds.
    """

    def __init__(self, *, dim: int, max_len: int, n_blocks: int, dropout: float) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(max_len, dim) * dim**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(CausalBlock(dim, dropout) for _ in range(n_blocks))
        self.norm = nn.LayerNorm(dim)

    def forward(self, histories: LaidOutHistories) -> Tensor:
        """Return the state at each interaction.

        Args:
            histories: None of them empty.

        Returns:
            Histories one after the other. Shape (n_interactions, d), float32.
        """
        vectors, lengths, ages = histories
        interactions, lengths = _longest_first(lengths)
        groups = _groups(lengths)

        ages = ages.clamp(max=len(self.positions) - 1)
        # Items as large as the layer norms make them, as in the authors' program.
        states = vectors * vectors.shape[1] ** 0.5
        states = self.dropout(states + functional.embedding(ages, self.positions))
        states = states.index_select(0, interactions)
        for block in self.blocks:
            states = block(states, groups)
        states = self.norm(states)
        return torch.empty_like(states).index_copy(0, interactions, states)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by the names that ``model.inference.transformer`` reads."""
        return {f"transformer.{name}": value for name, value in self.state_dict().items()}


class CausalBlock(nn.Module):
    """x ← x + dropout(g(norm(x))) for g = attention, then for g = a point-wise network (eq. 2-6).

    Attention has one head, as the paper found best (section IV.F).

    Args:
        dim: d.
        dropout: Share of the entries dropped of what each layer adds.
    """

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.network_norm = nn.LayerNorm(dim)
        self.network_in = nn.Linear(dim, dim)
        self.network_out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, groups: "list[_Group]") -> Tensor:
        """Run the block.

        Args:
            states: Of all interactions, group after group. Shape (n, d), float32.
            groups: Where those of each group lie.

        Returns:
            Shape (n, d), float32.
        """
        states = states + self.dropout(self._attend(self.attention_norm(states), groups))
        hidden = functional.relu(self.network_in(self.network_norm(states)))
        result: Tensor = states + self.dropout(self.network_out(hidden))
        return result

    def _attend(self, states: Tensor, groups: "list[_Group]") -> Tensor:
        """softmax(Q Kᵀ / √d) V over no later interactions."""
        projected = self.query_key_value(states)
        parts = projected.split([len(group.places) for group in groups])
        return torch.cat([_attended(*each) for each in zip(parts, groups, strict=True)])


class _Group(NamedTuple):
    """Histories of about the same length, laid into one array.

    Attributes:
        shape: Of the array: histories, the longest one's interactions.
        places: Of the interactions in the array. Shape (n,), int64.
    """

    shape: tuple[int, int]
    places: Tensor


def _longest_first(lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places of all interactions, the longest history first, and its lengths."""
    sorted_lengths, order = lengths.sort(descending=True, stable=True)
    # Where a history begins before and after, for each of its interactions.
    before = (lengths.cumsum(0) - lengths)[order]
    after = sorted_lengths.cumsum(0) - sorted_lengths
    moved = torch.repeat_interleave(before - after, sorted_lengths)
    return moved + torch.arange(len(moved), device=moved.device), sorted_lengths


def _groups(lengths: Tensor) -> list[_Group]:
    """Group histories, so that few long ones do not make the padding of all.

    Args:
        lengths: Falling, none of them 0. Shape (batch,), int64.
    """
    groups = []
    for part in lengths.chunk(GROUPS):
        longest = int(part[0])
        is_item = torch.arange(longest, device=part.device) < part.unsqueeze(1)
        groups.append(_Group((len(part), longest), is_item.flatten().nonzero()[:, 0]))
    return groups


def _attended(projected: Tensor, group: _Group) -> Tensor:
    """Attend within each history of a group.

    Args:
        projected: Queries, keys and values side by side. Shape (n, 3 d), float32.
        group: Where they lie.

    Returns:
        Shape (n, d), float32.
    """
    n_histories, longest = group.shape
    padded = projected.new_zeros(n_histories * longest, projected.shape[1])
    padded = padded.index_copy(0, group.places, projected).view(n_histories, 1, longest, -1)
    query, key, value = padded.chunk(3, dim=-1)
    attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return attended.flatten(0, 2).index_select(0, group.places)
