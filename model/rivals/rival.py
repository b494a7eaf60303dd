"""What all rivals share: one stage of training, the losses, what their files hold.

A rival's own module says how a history becomes k vectors, and what it learns by besides.
"""

from abc import abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from model.arrays import Floats
from model.config.training_config import TrainingConfig
from model.data.histories import PADDING, TrainingBatch
from model.encoder import Exported, Stage, TrainableEncoder
from model.layers.losses import future_item_loss, score_items, score_own_items
from model.layers.next_item import Candidates, next_item_loss
from model.layers.padded import PaddedHistories
from model.rivals.batch import RivalBatch, read_batch
from model.runtime.device import mixed_precision

MAIN: Stage = "main"
"""The only stage of a model that is trained in one go."""


class Rival(TrainableEncoder):
    """A model with a table of items and one stage of training.

    Args:
        n_items: Items in the catalog.
        n_interests: k; a model with a single vector has no use for it.
        dim: d.
        max_len: L in training; no history is longer, and no age is L or more.
        temperature: τ of scores.
        learn_temperature: Learn τ of scores.
        unit_vectors: See ``TrainableEncoder``.
        sparse_gradients: See ``TrainableEncoder``.

    Attributes:
        name: As in ``train --model``. ``encoder.safetensors`` says it too, unless ``own_settings``
            says another one.
        has_interests: False for a model with a single vector.
    """

    stages: ClassVar[tuple[Stage, ...]] = (MAIN,)
    name: ClassVar[str]
    has_interests: ClassVar[bool] = True

    def __init__(
        self,
        *,
        n_items: int,
        n_interests: int,
        dim: int,
        max_len: int,
        temperature: float,
        learn_temperature: bool,
        unit_vectors: bool,
        sparse_gradients: bool,
    ) -> None:
        super().__init__(
            n_items=n_items,
            dim=dim,
            temperature=temperature,
            learn_temperature=learn_temperature,
            unit_vectors=unit_vectors,
            sparse_gradients=sparse_gradients,
        )
        self.n_interests = n_interests if self.has_interests else 1
        self.dim = dim
        self.max_len = max_len

    @classmethod
    def from_config(
        cls,
        config: TrainingConfig,
        *,
        n_items: int,
        n_interests: int,
        max_len: int,
        sparse_gradients: bool,
        **own: Any,
    ) -> Self:
        """See ``TrainableEncoder.from_config``; ``own``: what the model's class takes besides."""
        return cls(
            **own,
            n_items=n_items,
            n_interests=n_interests,
            dim=config.dim,
            max_len=max_len,
            temperature=config.temperature,
            learn_temperature=config.learn_temperature,
            unit_vectors=config.unit_vectors,
            sparse_gradients=sparse_gradients,
        )

    @abstractmethod
    def encode(self, histories: PaddedHistories) -> Tensor:
        """Encode histories, none of them empty. Shape (batch, k, d), not yet of unit length."""

    def own_losses(
        self,
        batch: RivalBatch,  # noqa: ARG002
        interests: Tensor,  # noqa: ARG002
        config: TrainingConfig,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Return what the model learns by besides, weighted, by name.

        Args:
            batch: The batch.
            interests: z of its histories, as ``prediction_loss`` gets them. Shape (B, k, d).
            config: How training is set.
        """
        return {}

    @abstractmethod
    def own_tensors(self) -> dict[str, Tensor]:
        """Return the weights that serving needs besides the items' vectors, by name."""

    def own_settings(self) -> dict[str, object]:
        """Return what else serving needs, as JSON types."""
        return {}

    def interests(self, histories: Tensor, stage: Stage) -> Tensor:  # noqa: ARG002
        """See ``TrainableEncoder.interests``; without dropout, as it is served."""
        self.eval()
        is_item = histories != PADDING
        vectors = histories.new_zeros((*histories.shape, self.dim), dtype=self.item_table.dtype)
        vectors[is_item] = self.embed(histories[is_item])
        ages = (is_item.flip(1).cumsum(1).flip(1) - 1).clamp(min=0)
        return self._sized(self.encode(PaddedHistories(vectors, is_item, ages)))

    def losses(
        self,
        batch: TrainingBatch,
        stage: Stage,  # noqa: ARG002
        config: TrainingConfig,
    ) -> dict[str, Tensor]:
        """See ``TrainableEncoder.losses``; with dropout."""
        self.train()
        return self.losses_of(read_batch(batch, self), config)

    def losses_of(self, batch: RivalBatch, config: TrainingConfig) -> dict[str, Tensor]:
        """Return all that the model learns by, weighted, by name.

        Args:
            batch: The batch.
            config: How training is set.
        """
        with mixed_precision(self.item_table.device):
            interests = self._sized(self.encode(batch.histories).float())
        prediction = self.prediction_loss(batch, interests)
        return {"prediction": prediction, **self.own_losses(batch, interests, config)}

    def prediction_loss(self, batch: RivalBatch, interests: Tensor) -> Tensor:
        """−log softmax of each positive, by the interest that fits it best.

        That interest alone, chosen by the positive, scores the positive and what it competes with:
        the user's other positives and the negatives (ComiRec, arXiv 2005.09347, eq. 7 and 8; MIND,
        arXiv 1904.08030, label-aware attention with p → ∞). Positives of a user are equal: the
        mean over them counts once for each user, as in ``model.layers.losses.future_item_loss``.

        Returns:
            The mean over the batch, a scalar.
        """
        n_users, k, _ = interests.shape
        owners, temperature = batch.owners, self.score_temperature
        scores = (interests.flatten(0, 1) @ batch.negatives.T).view(n_users, k, -1) / temperature
        if batch.log_weights is not None:
            scores = scores + batch.log_weights
        users, negatives = batch.own_future
        barred = scores.new_zeros((n_users, scores.shape[2]))
        barred[users, negatives] = -torch.inf
        scores = scores + barred.unsqueeze(1)
        # Of every positive with each interest of its user. Shape (P, k)
        own = (interests[owners] * batch.positives.unsqueeze(1)).sum(-1) / temperature
        highest = scores.detach().amax(2)
        by_user = owners.unsqueeze(1).expand_as(own)
        highest = highest.scatter_reduce(0, by_user, own.detach(), "amax")
        total = (scores - highest.unsqueeze(2)).exp().sum(2)
        total = total.index_add(0, owners, (own - highest[owners]).exp())
        chosen = own.detach().argmax(1, keepdim=True)
        log_total = (total.log() + highest)[owners].gather(1, chosen)[:, 0]
        return mean_over_users(log_total - own.gather(1, chosen)[:, 0], owners, n_users)

    def best_interest_loss(self, batch: RivalBatch, interests: Tensor) -> Tensor:
        """−log softmax of each positive, every item scored by the interest that fits it best.

        As items are scored when served, and as OPAL learns: a rival whose paper scores that way
        takes it in the place of ``prediction_loss``.

        Returns:
            The mean over the batch, a scalar.
        """
        temperature = self.score_temperature
        own = score_own_items(interests, batch.owners, batch.positives, temperature)
        scores = score_items(interests, batch.negatives, temperature)
        if batch.log_weights is not None:
            scores = scores + batch.log_weights
        return future_item_loss(own, batch.owners, scores, batch.own_future)

    def next_item_losses(
        self, batch: RivalBatch, states: Tensor, config: TrainingConfig
    ) -> dict[str, Tensor]:
        """−log softmax of the next item after each interaction; see ``model.layers.next_item``.

        Args:
            batch: The batch.
            states: After each interaction of its histories, not yet of unit length.
                Shape (n_interactions, d), float32.
            config: Of the training.

        Returns:
            "next_item", weighted; nothing where it weighs nothing.
        """
        if not config.next_item:
            return {}
        candidates = Candidates(
            batch.items,
            batch.negatives,
            batch.negative_rows,
            batch.log_weights,
            self.score_temperature,
        )
        lengths = batch.histories.is_item.sum(1)
        loss = next_item_loss(self._sized(states), batch.rows, lengths, candidates)
        return {"next_item": config.next_item * loss}

    def exported(self, stage: Stage) -> Exported:  # noqa: ARG002
        """See ``TrainableEncoder.exported``."""
        tensors = {"item_embedding": self.item_embeddings(), **self.own_tensors()}
        settings = {"model": self.name, "unit_vectors": self.unit_vectors, **self.own_settings()}
        arrays: dict[str, Floats] = {
            name: tensor.detach().float().cpu().numpy() for name, tensor in tensors.items()
        }
        return Exported(arrays, settings)


def mean_over_users(losses: Tensor, owners: Tensor, n_users: int) -> Tensor:
    """Average losses over each user first, then over users.

    Args:
        losses: Shape (P,), float32.
        owners: The user of each; every user has some. Shape (P,), int64.
        n_users: B.
    """
    counts = torch.bincount(owners, minlength=n_users)
    return (losses.new_zeros(n_users).index_add(0, owners, losses) / counts).mean()
