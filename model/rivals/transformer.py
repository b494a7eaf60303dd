"""Blocks of causal self-attention over histories (SASRec, arXiv 1808.09781, section III)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.rivals.rival import PaddedHistories


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

    def forward(self, histories: PaddedHistories) -> Tensor:
        """Return the state at each interaction.

        Args:
            histories: None of them empty.

        Returns:
            Histories one after the other. Shape (n_interactions, d), float32.
        """
        vectors, is_item, ages = histories
        dim = vectors.shape[2]
        places = is_item.flatten().nonzero()[:, 0]
        positions = ages.flatten()[places].clamp(max=len(self.positions) - 1)
        # Items as large as the layer norms make them, as in the authors' program.
        states = vectors.flatten(0, 1).index_select(0, places) * dim**0.5
        states = self.dropout(states + functional.embedding(positions, self.positions))
        for block in self.blocks:
            states = block(states, places, is_item.shape)
        result: Tensor = self.norm(states)
        return result

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

    def forward(self, states: Tensor, places: Tensor, shape: torch.Size) -> Tensor:
        """Run the block.

        Args:
            states: Of all interactions, without padding. Shape (n, d), float32.
            places: Of the interactions in an array of all positions. Shape (n,), int64.
            shape: Of that array: (batch, length).

        Returns:
            Shape (n, d), float32.
        """
        states = states + self.dropout(self._attend(self.attention_norm(states), places, shape))
        hidden = functional.relu(self.network_in(self.network_norm(states)))
        result: Tensor = states + self.dropout(self.network_out(hidden))
        return result

    def _attend(self, states: Tensor, places: Tensor, shape: torch.Size) -> Tensor:
        """softmax(Q Kᵀ / √d) V over no later interactions."""
        projected = self.query_key_value(states)
        padded = projected.new_zeros(shape.numel(), projected.shape[1])
        padded = padded.index_copy(0, places, projected).view(*shape, -1)
        query, key, value = padded.chunk(3, dim=-1)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return attended.flatten(0, 1).index_select(0, places)
