"""OPAL's encoder in torch, for training (OPAL.md; arXiv 2407.14741).

Embeddings are kept on the unit sphere by parametrisation: a table holds free vectors, and what is
used is always ``normalize(vector)``. Adam's moments then belong to the very numbers they were
made from (a projection after each step would move the vectors under them), and in a large catalog
only the rows in use are normalised.

Rows are those of the catalog, from 0; a padded position of a history holds ``PADDING`` (−1), which
no table has, so that padding which escapes its mask fails instead of counting as an item.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

PADDING = -1

Stage = Literal["soft", "hard"]


class EncodedHistories(NamedTuple):
    """What the encoder gives for a batch.

    Attributes:
        interests: z, unit length. Shape (batch, k, d), float32.
        assignment: Soft assignment a_tj; 0 where padded. Shape (batch, length, k), float32.
        is_item: True where the history holds an item. Shape (batch, length), bool.
    """

    interests: Tensor
    assignment: Tensor
    is_item: Tensor


class OpalEncoder(nn.Module):
    """Histories to k interests guided by k orthogonal hyper-categories.

    Args:
        n_items: Items in the catalog.
        n_interests: k, interests per user = number of hyper-categories.
        dim: d, embedding and hidden size.
        temperature: τ of the soft assignment.
    """

    def __init__(self, *, n_items: int, n_interests: int, dim: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.item_table = nn.Parameter(torch.randn(n_items, dim) / dim**0.5)
        self.hyper_table = nn.Parameter(torch.empty(n_interests, dim))
        nn.init.orthogonal_(self.hyper_table)
        self.gru = nn.GRU(dim, dim, bias=False, batch_first=True)
        self.head = nn.Linear(dim, dim)

    def item_embeddings(self) -> Tensor:
        """All items' unit vectors e_v. Shape (n_items, d), float32."""
        return functional.normalize(self.item_table, dim=-1)

    def embed(self, rows: Tensor) -> Tensor:
        """Unit vectors e_v of some items.

        Args:
            rows: Item rows, none of them padding. Any shape, int64.

        Returns:
            Shape (*rows.shape, d), float32.
        """
        return functional.normalize(functional.embedding(rows, self.item_table), dim=-1)

    def hyper_categories(self) -> Tensor:
        """C, the unit vectors of the hyper-categories. Shape (k, d), float32."""
        return functional.normalize(self.hyper_table, dim=-1)

    def forward(self, histories: Tensor, stage: Stage) -> EncodedHistories:
        """Encode histories as interests; padding does not influence the result.

        Args:
            histories: Item rows, oldest first, ``PADDING`` where there is none.
                Shape (batch, length), int64.
            stage: "soft" gives z = s (stage 1), "hard" gives z = norm(½ s + ½ h) (stage 2).
        """
        is_item = histories != PADDING
        embeddings = self.embed(histories.clamp(min=0)) * is_item.unsqueeze(-1)
        hyper_categories = self.hyper_categories()
        logits = embeddings @ hyper_categories.T / self.temperature
        # a_tj = softmax_j(e_t · c_j / τ)
        assignment = logits.softmax(-1) * is_item.unsqueeze(-1)
        interests = self._soft_interests(embeddings, assignment, hyper_categories)
        if stage == "hard":
            hyper_category = logits.argmax(-1)  # j*(t)
            evolved = self._hard_interests(embeddings, is_item, hyper_category, hyper_categories)
            interests = functional.normalize(interests + evolved, dim=-1)
        return EncodedHistories(interests, assignment, is_item)

    @staticmethod
    def _soft_interests(embeddings: Tensor, assignment: Tensor, hyper_categories: Tensor) -> Tensor:
        """s_j = norm(Σ_t a_tj e_t); c_j where there is no mass. Shape (batch, k, d)."""
        total = assignment.transpose(1, 2) @ embeddings
        has_mass = (assignment.sum(1) > 0).unsqueeze(-1)
        return torch.where(has_mass, functional.normalize(total, dim=-1), hyper_categories)

    def _hard_interests(
        self,
        embeddings: Tensor,
        is_item: Tensor,
        hyper_category: Tensor,
        hyper_categories: Tensor,
    ) -> Tensor:
        """h_j: the GRU's last state over the sub-sequence S^j, then Linear, ReLU, norm.

        All k · batch sub-sequences run as one packed sequence. A sub-sequence without
        interactions gives c_j.

        Args:
            embeddings: Shape (batch, length, d), float32.
            is_item: Shape (batch, length), bool.
            hyper_category: j*(t). Shape (batch, length), int64.
            hyper_categories: Shape (k, d), float32.

        Returns:
            Shape (batch, k, d), float32.
        """
        n_users, k = len(embeddings), len(hyper_categories)
        users, positions = is_item.nonzero(as_tuple=True)
        sub_sequence = users * k + hyper_category[users, positions]
        packed, order = pack_sub_sequences(embeddings[users, positions], sub_sequence, n_users * k)
        result = hyper_categories.repeat(n_users, 1)
        if len(order):
            _, last_states = self.gru(packed)
            evolved = functional.normalize(functional.relu(self.head(last_states[0])), dim=-1)
            # An interest whose every unit is cut by the ReLU has no direction: it too falls back.
            evolved = torch.where(evolved.any(-1, keepdim=True), evolved, result[order])
            result = result.index_copy(0, order, evolved)
        return result.view(n_users, k, -1)


def pack_sub_sequences(
    values: Tensor, sub_sequence: Tensor, n_sub_sequences: int
) -> tuple[PackedSequence, Tensor]:
    """Pack ragged sub-sequences without padding them and without a loop.

    Args:
        values: One vector per interaction, in time order within each sub-sequence.
            Shape (n, d), float32.
        sub_sequence: The sub-sequence of each. Shape (n,), int64.
        n_sub_sequences: How many there are, empty ones included.

    Returns:
        The packed sequence, longest sub-sequence first, and the number of the sub-sequence at
        each place of it, empty ones left out. Shape (n_filled,), int64.
    """
    lengths = torch.bincount(sub_sequence, minlength=n_sub_sequences)
    order = torch.argsort(lengths, descending=True, stable=True)
    order = order[: int((lengths > 0).sum())]
    place = torch.empty_like(lengths)
    place[order] = torch.arange(len(order), device=place.device)
    # The position of each interaction within its sub-sequence: its rank after a stable sort.
    by_sub_sequence = torch.argsort(sub_sequence, stable=True)
    start = lengths.cumsum(0) - lengths
    step = torch.empty_like(sub_sequence)
    step[by_sub_sequence] = (
        torch.arange(len(sub_sequence), device=step.device) - start[sub_sequence[by_sub_sequence]]
    )
    # A packed sequence holds all first steps, then all second steps …, each in order of length.
    packed_order = torch.argsort(step * (n_sub_sequences + 1) + place[sub_sequence])
    batch_sizes = torch.bincount(step).cpu()
    return PackedSequence(values[packed_order], batch_sizes), order
