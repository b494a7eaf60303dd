"""CMI: interests by item categories, made robust by contrast (Li et al., SIGIR 2022, 2205.09593).

OPAL's direct ancestor, in part by the same authors: implicit orthogonal categories share out a
history; one general interest, by a GRU over all of it, is added to each category's. What the paper
leaves open follows the authors' program (github.com/libeibei95/CMI).
"""

from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.arrays import Floats
from model.config.training_config import TrainingConfig
from model.data.cooccurrence import cluster_directions
from model.encoder import normalize
from model.layers.general_interest import new_attention, with_attended
from model.layers.gru import all_states, gru_tensors, last_states
from model.layers.losses import orthogonality_loss, uniformity_loss
from model.layers.padded import PaddedHistories, pad
from model.rivals.batch import RivalBatch
from model.rivals.rival import Rival
from model.rivals.single_vector import newest
from model.runtime.device import mixed_precision

ASSIGNMENT_TEMPERATURE = 0.1
CONTRAST_TEMPERATURE = 0.1
ORTHOGONALITY_WEIGHT = 10.0
UNIFORMITY_WEIGHT = 1.0
CONTRAST_WEIGHT = 0.05
"""As the authors ran it, and the temperatures and the other weights as well."""

CONTRASTED_INTERESTS = 1024
"""Interests of a batch, all those of its first users, that are told from each other: the cost of it
grows with the square."""

LONGEST_UNSPLIT = 6
"""A history of no more interactions is its own augmentation, twice."""


class Cmi(Rival):
    """z_j = norm(Σ_t a_tj e_t) + norm(g), a_t = softmax_j(e_t · c_j / τ), g from a GRU.

    With self-attention, which is not of the paper, norm(norm(g) + norm(x)) is added, as OPAL's
    ``model.layers.general_interest`` makes it.

    Args:
        positions: Ages of interactions that self-attention tells apart; None: there is none.
        sizes: See ``Rival``.
    """

    name: ClassVar[str] = "cmi"
    draws_at_random = True

    def __init__(self, *, positions: int | None = None, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.category_table = nn.Parameter(torch.empty(self.n_interests, self.dim))
        nn.init.orthogonal_(self.category_table)
        self.gru = nn.GRU(self.dim, self.dim, bias=False)
        self.head = nn.Linear(self.dim, self.dim)
        self.attention = None if positions is None else new_attention(self.dim, positions)

    @classmethod
    def from_config(cls, config: TrainingConfig, *, max_len: int, **sizes: Any) -> Self:
        """See ``TrainableEncoder.from_config``."""
        positions = max_len if config.attention else None
        return super().from_config(config, max_len=max_len, positions=positions, **sizes)

    @torch.no_grad()
    def start_from(self, item_vectors: Floats, random: np.random.Generator) -> None:
        """Begin with these item vectors, and with categories along their clusters."""
        super().start_from(item_vectors, random)
        directions = cluster_directions(item_vectors, self.n_interests, random)
        self.category_table.copy_(torch.from_numpy(directions))

    def hyper_categories(self) -> Tensor:
        """C, the unit vectors of the categories. Shape (k, d), float32."""
        return normalize(self.category_table)

    def encode(self, histories: PaddedHistories) -> Tensor:
        """See ``Rival.encode``."""
        assignment = self._assignment(histories).to(histories.vectors.dtype)
        category_interests = normalize((assignment.transpose(1, 2) @ histories.vectors).float())
        return category_interests + self._general_interest(histories).unsqueeze(1)

    def _assignment(self, histories: PaddedHistories) -> Tensor:
        """a_tj, 0 where there is no interaction. Shape (batch, length, k), float32."""
        logits = (histories.vectors @ self.hyper_categories().T).float() / ASSIGNMENT_TEMPERATURE
        return logits.softmax(2) * histories.is_item.unsqueeze(2)

    def _general_interest(self, histories: PaddedHistories) -> Tensor:
        """What is made of each whole history, unit length. Shape (batch, d), float32."""
        if self.attention is not None:
            return newest(self._general_states(histories), histories.is_item)
        states, order = last_states(self.gru, *histories.laid_out().sequences())
        general = normalize(self._of_gru(states))
        return torch.empty_like(general).index_copy(0, order, general)

    def _general_states(self, histories: PaddedHistories) -> Tensor:
        """The general interest after each interaction, one history after the other. (n, d).

        Of unit length where it attends; else of any, as the next-item loss of the authors' scores
        without unit vectors takes it.
        """
        states = self._of_gru(all_states(self.gru, *histories.laid_out().sequences()))
        if self.attention is None:
            return states
        attended = self.attention(histories.laid_out()).float()
        return with_attended(normalize(states), attended)

    def _of_gru(self, states: Tensor) -> Tensor:
        """ReLU(W h + b) of states h of the GRU. Shape (n, d), float32."""
        return functional.relu(self.head(states)).float()

    def losses_of(self, batch: RivalBatch, config: TrainingConfig) -> dict[str, Tensor]:
        """See ``Rival.losses_of``; both augmentations predict, as the authors ran it.

        The general interest learns by the next items inside the whole history too, with the
        default recipe, as OPAL's does.
        """
        whole = batch.histories
        contrasted = max(1, CONTRASTED_INTERESTS // self.n_interests)
        with mixed_precision(self.item_table.device):
            halves = self.encode(two_halves(whole)).float()
            general = self._general_states(whole) if config.next_item else None
        first, second = self._sized(halves).chunk(2)
        predictions = [self.best_interest_loss(batch, half) for half in (first, second)]
        assignment = self._assignment(whole).flatten(0, 1)
        occurrences = whole.is_item.flatten().to(assignment.dtype)
        return {
            "prediction": torch.stack(predictions).mean(),
            "contrast": CONTRAST_WEIGHT * contrast_loss(first[:contrasted], second[:contrasted]),
            "orthogonality": ORTHOGONALITY_WEIGHT * orthogonality_loss(self.hyper_categories()),
            "uniformity": UNIFORMITY_WEIGHT * uniformity_loss(assignment, occurrences),
            **({} if general is None else self.next_item_losses(batch, general, config)),
        }

    def own_tensors(self) -> dict[str, Tensor]:
        """See ``Rival.own_tensors``."""
        return {
            "category": self.hyper_categories(),
            **gru_tensors(self.gru),
            "head.weight": self.head.weight,
            "head.bias": self.head.bias,
            **({} if self.attention is None else self.attention.tensors()),
        }

    def own_settings(self) -> dict[str, object]:
        """See ``Rival.own_settings``; programs that know no attention refuse this ``model``."""
        attends = {} if self.attention is None else {"model": "cmi-attention"}
        return {"temperature": ASSIGNMENT_TEMPERATURE, **attends}


def two_halves(histories: PaddedHistories) -> PaddedHistories:
    """Split each history at random into two parts of half its interactions, in order.

    A short one (``LONGEST_UNSPLIT``) is taken whole, twice.

    Args:
        histories: Shape (batch, length, d) and so on.

    Returns:
        Batch 2 B: one half of every user, then the other half of every user.
    """
    vectors, is_item, ages = histories
    lengths = is_item.sum(1, keepdim=True)
    lots = torch.rand(is_item.shape, device=is_item.device).masked_fill(~is_item, 2.0)
    in_first = lots.argsort(1).argsort(1) < lengths // 2
    is_whole = lengths <= LONGEST_UNSPLIT
    chosen = torch.stack((is_item & (in_first | is_whole), is_item & (~in_first | is_whole)))
    places = chosen.flatten(1).nonzero()[:, 1]
    return pad(
        vectors.flatten(0, 1),
        places,
        chosen.sum(2).flatten(),
        ages.flatten().index_select(0, places),
    )


def contrast_loss(first: Tensor, second: Tensor) -> Tensor:
    """Interest j of a user in one augmentation is told from all others by that in the other one.

    Cross-entropy of cos(z_uj, z'_vl) / τ over all users v and interests l, in both directions.

    Args:
        first: Interests of one augmentation. Shape (B, k, d), float32.
        second: Of the other. Shape (B, k, d), float32.
    """
    first, second = (normalize(each.flatten(0, 1)) for each in (first, second))
    similarities = first @ second.T / CONTRAST_TEMPERATURE
    own = torch.arange(len(first), device=first.device)
    there = functional.cross_entropy(similarities, own)
    return there + functional.cross_entropy(similarities.T, own)
