"""The training step as it is written first: the yardstick of ``bench_training``.

The same parameters, losses and optimiser, hence the same loss for the same batch, but: batches are
made user by user in Python, everything is computed for each position of the padded histories, the
GRU runs in both stages although only the hard one uses it, and each interest's sub-sequence is
padded to the whole length.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset
from model.encoder import Stage
from model.layers.losses import hard_assignment, orthogonality_loss
from model.opal import OpalEncoder

PADDING_ITEM = 0  # any item: the mask leaves it out


class PlainBatch(NamedTuple):
    """One batch; ``B`` users, ``L`` positions, ``N`` negatives.

    Attributes:
        histories: Item rows, oldest first, padded on the right. Shape (B, L), int64.
        is_item: Shape (B, L), bool.
        positives: Shape (B,), int64.
        negatives: Shape (N,), int64.
        is_negative: Shape (B, N), bool.
    """

    histories: Tensor
    is_item: Tensor
    positives: Tensor
    negatives: Tensor
    is_negative: Tensor


class PlainTraining:
    """One step after the other, straight from the equations.

    Args:
        dataset: What to train on.
        config: How.
        encoder: Whose parameters are trained.
        max_len: L, to which every history is padded.
        gru_in_soft_stage: Run the GRU in the soft stage too, where nothing uses it.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: TrainingConfig,
        encoder: OpalEncoder,
        *,
        max_len: int,
        gru_in_soft_stage: bool = True,
    ) -> None:
        self._config = config
        self._max_len = max_len
        self._n_items = dataset.n_items
        self._gru_in_soft_stage = gru_in_soft_stage
        self._sequences: list[list[int]] = [
            dataset.items[begin:end].tolist()
            for begin, end in zip(dataset.offsets[:-1], dataset.train_end, strict=True)
            if end - begin > 1
        ]
        self._random = np.random.default_rng(config.seed)
        self._encoder = encoder
        self._optimizer = torch.optim.Adam(encoder.parameters(), lr=config.learning_rate)

    def step(self, stage: Stage) -> float:
        """Make one step and return its loss."""
        loss = self.loss(self.draw(), stage)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return loss.item()

    def draw(self) -> PlainBatch:
        """Make a batch user by user."""
        length = self._max_len
        negatives = self._random.choice(
            self._n_items, min(self._config.batch_size, self._n_items), replace=False
        ).tolist()
        histories, is_item, positives, is_negative = [], [], [], []
        for user in self._random.integers(len(self._sequences), size=self._config.batch_size):
            sequence = self._sequences[user]
            cut = int(self._random.integers(min(3, len(sequence) - 1), len(sequence)))
            history, future = sequence[max(0, cut - length) : cut], set(sequence[cut:])
            padding = length - len(history)
            histories.append(history + [PADDING_ITEM] * padding)
            is_item.append([True] * len(history) + [False] * padding)
            positives.append(sequence[int(self._random.integers(cut, len(sequence)))])
            is_negative.append([item not in future for item in negatives])
        return PlainBatch(
            torch.tensor(histories),
            torch.tensor(is_item),
            torch.tensor(positives),
            torch.tensor(negatives),
            torch.tensor(is_negative),
        )

    def loss(self, batch: PlainBatch, stage: Stage) -> Tensor:
        """Return the weighted sum of a stage's losses, a scalar."""
        encoder, config = self._encoder, self._config
        items = functional.normalize(encoder.item_table, dim=-1)
        hyper_categories = functional.normalize(encoder.hyper_table, dim=-1)
        is_item = batch.is_item
        embeddings = items[batch.histories] * is_item.unsqueeze(-1)
        logits = embeddings @ hyper_categories.T / config.temperature
        assignment = logits.softmax(-1) * is_item.unsqueeze(-1)
        interests = functional.normalize(assignment.transpose(1, 2) @ embeddings, dim=-1)
        if stage == "hard":
            evolved = self._evolve(embeddings, is_item, logits.argmax(-1), hyper_categories)
            interests = functional.normalize(interests + evolved, dim=-1)
        elif self._gru_in_soft_stage:
            encoder.gru(embeddings.transpose(0, 1))
        positive = (interests @ items[batch.positives].unsqueeze(-1)).amax(1)
        negatives = (interests @ items[batch.negatives].T).amax(1)
        scores = torch.cat((positive, negatives), dim=1) / config.temperature
        loss = future_item_loss(scores, batch.is_negative)
        loss = loss + config.loss_weights.orthogonality * orthogonality_loss(hyper_categories)
        uniformity = uniformity_loss(assignment, is_item)
        if stage == "hard":
            uniformity = uniformity + uniformity_loss(hard_assignment(assignment), is_item)
            loss = loss + config.loss_weights.unique * unique_loss(assignment, is_item)
        return loss + config.loss_weights.uniformity * uniformity

    def _evolve(
        self, embeddings: Tensor, is_item: Tensor, hyper_category: Tensor, hyper_categories: Tensor
    ) -> Tensor:
        """h_j, one interest after the other. Shape (B, k, d), float32."""
        evolved = []
        for interest, fallback in enumerate(hyper_categories):
            belongs = (hyper_category == interest) & is_item
            first = torch.argsort((~belongs).int(), dim=1, stable=True).unsqueeze(-1)
            padded = torch.take_along_dim(embeddings, first, 1)
            states, _ = self._encoder.gru(padded.transpose(0, 1))
            count = belongs.sum(1)
            last = states[(count - 1).clamp(min=0), torch.arange(len(count))]
            direction = functional.normalize(functional.relu(self._encoder.head(last)), dim=-1)
            has_direction = (count > 0) & direction.any(-1)
            evolved.append(torch.where(has_direction.unsqueeze(-1), direction, fallback))
        return torch.stack(evolved, dim=1)


def future_item_loss(scores: Tensor, is_negative: Tensor) -> Tensor:
    """−log softmax of column 0 among itself and the negatives that count."""
    negatives = scores[:, 1:].masked_fill(~is_negative, -torch.inf)
    total = torch.cat((scores[:, :1], negatives), dim=1).logsumexp(1)
    return (total - scores[:, 0]).mean()


def uniformity_loss(assignment: Tensor, is_item: Tensor) -> Tensor:
    """std(p) / mean(p), p_j = mean of a_tj over interactions."""
    mass = assignment.sum((0, 1)) / is_item.sum()
    return mass.std(correction=0) / mass.mean()


def unique_loss(assignment: Tensor, is_item: Tensor) -> Tensor:
    """−log max_j a_tj, the mean over interactions."""
    return -assignment.amax(-1)[is_item].log().mean()
