"""What single-vector models over sequences share: they are trained at every position.

Both GRU4Rec and SASRec predict the next item after each interaction, not only after the last.
Beside the loss of the next items that all models here share, that is what they learn by
(``next_item``). On Last.fm it raised validation Recall@50 of SASRec from 0.244 to 0.270, and of
GRU4Rec from 0.239 to 0.264.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from model.config import TrainingConfig
from model.device import mixed_precision
from model.histories import TrainingBatch
from model.rivals.rival import PaddedHistories, Rival, RivalBatch

POSITIONS_PER_USER = 4
"""On average, drawn at random from the whole batch: all of them would cost several times as much
as the rest of a step."""


class NextItemRival(Rival):
    """A single vector: the state after the newest interaction. See ``Rival`` for the arguments."""

    has_interests: ClassVar[bool] = False
    draws_at_random: ClassVar[bool] = True

    @abstractmethod
    def states(self, histories: PaddedHistories) -> Tensor:
        """Return the state after each interaction; nothing later influences it.

        Args:
            histories: None of them empty.

        Returns:
            Histories one after the other. Shape (n_interactions, d), not yet of unit length.
        """

    def encode(self, histories: PaddedHistories) -> Tensor:
        """See ``Rival.encode``. Shape (batch, 1, d)."""
        return newest(self.states(histories), histories.is_item).unsqueeze(1)

    def losses_of(
        self,
        batch: RivalBatch,
        drawn: TrainingBatch,
        config: TrainingConfig,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """See ``Rival.losses_of``."""
        states = self._sized_states(batch.histories)
        interests = newest(states, batch.histories.is_item).unsqueeze(1)
        return {
            "prediction": self.prediction_loss(batch, interests),
            "next_item": self._next_item_loss(states, batch, drawn),
        }

    def _sized_states(self, histories: PaddedHistories) -> Tensor:
        with mixed_precision(self.item_table.device):
            return self._sized(self.states(histories).float())

    def _next_item_loss(self, states: Tensor, batch: RivalBatch, drawn: TrainingBatch) -> Tensor:
        """−log softmax of the item after a position, among it and the shared negatives.

        Args:
            states: After each interaction, as scored. Shape (n_interactions, d), float32.
            batch: The batch.
            drawn: The batch as it was drawn.

        Returns:
            The mean over the positions drawn, a scalar; 0 where no history has two interactions.
        """
        is_item = batch.histories.is_item
        followed = torch.ones(len(states), dtype=torch.bool, device=states.device)
        followed[is_item.sum(1).cumsum(0) - 1] = False
        positions = followed.nonzero()[:, 0]
        if len(positions) == 0:
            return states.new_zeros(())
        most = POSITIONS_PER_USER * len(is_item)
        if len(positions) > most:
            drawn_positions = torch.randperm(len(positions), device=positions.device)[:most]
            positions = positions[drawn_positions]

        temperature = self.score_temperature
        next_items = batch.histories.vectors[is_item][positions + 1]
        own = (states[positions] * next_items).sum(-1) / temperature
        scores = states[positions] @ batch.negatives.T / temperature
        if batch.log_weights is not None:
            scores = scores + batch.log_weights
        # The item itself does not compete, should it be among the negatives.
        to_device = states.device
        negative_of_item = torch.full((len(drawn.items),), -1, device=to_device)
        negatives = torch.from_numpy(drawn.negatives).to(to_device)
        negative_of_item[negatives] = torch.arange(len(negatives), device=to_device)
        items = torch.from_numpy(drawn.histories).to(to_device)[positions + 1]
        negative = negative_of_item[items]
        rows = (negative >= 0).nonzero()[:, 0]
        scores = scores.index_put((rows, negative[rows]), scores.new_tensor(-torch.inf))
        return (torch.logaddexp(scores.logsumexp(1), own) - own).mean()


def newest(states: Tensor, is_item: Tensor) -> Tensor:
    """Return the state after the newest interaction of each history.

    Args:
        states: Of all interactions, histories one after the other.
            Shape (n_interactions, d), float32.
        is_item: Shape (batch, length), bool; no row without an interaction.

    Returns:
        Shape (batch, d), float32.
    """
    return states.index_select(0, is_item.sum(1).cumsum(0) - 1)
