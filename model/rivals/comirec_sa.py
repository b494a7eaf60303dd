"""ComiRec-SA: interests by structured self-attention over the history, one head for each.

Cen et al., "Controllable Multi-Interest Framework for Recommendation", KDD 2020, arXiv 2005.09347,
section 3.2 (self-attentive method).
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from model.layers.padded import PaddedHistories
from model.rivals.rival import Rival

HIDDEN_PER_DIM = 4
"""d_a / d: the attention's hidden units, as in the authors' code."""


class ComiRecSa(Rival):
    """A = softmax_t(W2 tanh(W1 (e_t + p_t) + b)), V = A E (eq. 9 and 10).

    As in the authors' code the layer in front of tanh has a bias, and the position embedding p_t
    counts in the attention alone, not in what is added up. Unlike there, p_t belongs to the age of
    the interaction and not to its place from the oldest one: a history that is cut shorter then
    means the same, and the newest interaction is always known as such.

    Args:
        sizes: See ``Rival``.
    """

    name: ClassVar[str] = "comirec-sa"

    def __init__(self, **sizes: Any) -> None:
        super().__init__(**sizes)
        hidden = HIDDEN_PER_DIM * self.dim
        self.hidden = nn.Linear(self.dim, hidden)
        self.heads = nn.Linear(hidden, self.n_interests, bias=False)  # one would cancel in softmax
        self.positions = nn.Parameter(torch.randn(self.max_len, self.dim) * 0.02)

    def encode(self, histories: PaddedHistories) -> Tensor:
        """See ``Rival.encode``."""
        is_item = histories.is_item
        placed = histories.vectors[is_item] + self.positions[histories.ages[is_item]]
        scores = self.heads(self.hidden(placed).tanh()).float()
        logits = scores.new_full((*is_item.shape, self.n_interests), -torch.inf)
        logits = logits.masked_scatter(is_item.unsqueeze(2), scores)
        attention = logits.softmax(1).to(histories.vectors.dtype)
        interests: Tensor = attention.transpose(1, 2) @ histories.vectors
        return interests

    def own_tensors(self) -> dict[str, Tensor]:
        """See ``Rival.own_tensors``."""
        return {
            "attention.hidden.weight": self.hidden.weight,
            "attention.hidden.bias": self.hidden.bias,
            "attention.heads.weight": self.heads.weight,
            "attention.positions": self.positions,
        }
