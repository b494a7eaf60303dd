"""What a training step minimises: the weighted sum of a stage's losses over one batch."""

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor

from model.arrays import Floats, Rows
from model.config import TrainingConfig
from model.device import mixed_precision
from model.histories import TrainingBatch
from model.losses import (
    future_item_loss,
    hard_assignment,
    orthogonality_loss,
    score_items,
    score_own_items,
    uniformity_loss,
    unique_loss,
)
from model.opal import OpalEncoder, Stage
from model.ragged import RaggedRows


def total_loss(losses: Mapping[str, Tensor]) -> Tensor:
    """Sum what ``training_losses`` returned."""
    return reduce(torch.add, losses.values())


def training_losses(
    encoder: OpalEncoder, batch: TrainingBatch, stage: Stage, config: TrainingConfig
) -> dict[str, Tensor]:
    """Return the losses of a stage over one batch by name, weighted; each a scalar, float32."""
    device = encoder.item_table.device

    def tensor(array: Rows | Floats) -> Tensor:
        return torch.from_numpy(array).to(device)

    vectors = encoder.embed(tensor(batch.items))
    histories = RaggedRows(tensor(batch.histories), tensor(batch.lengths), tensor(batch.by_item))
    temperature, owners = encoder.score_temperature, tensor(batch.owners)
    positives = vectors.index_select(0, tensor(batch.positives))
    negatives = vectors.index_select(0, tensor(batch.negatives))
    with mixed_precision(device):
        encoded = encoder.encode(vectors, histories, tensor(batch.ages), stage)
        negative_scores = score_items(encoded.interests, negatives, temperature)
        positive_scores = score_own_items(encoded.interests, owners, positives, temperature)
    negative_scores = negative_scores.float()
    if batch.log_weights is not None:
        negative_scores = negative_scores + tensor(batch.log_weights)
    weights = config.loss_weights
    losses = {
        "future_item": future_item_loss(
            positive_scores.float(), owners, negative_scores, tensor(batch.own_future)
        ),
        "orthogonality": weights.orthogonality * orthogonality_loss(encoder.hyper_categories()),
    }
    uniformity = uniformity_loss(encoded.assignment, encoded.occurrences)
    if stage == "hard":
        hard = hard_assignment(encoded.assignment)
        uniformity = uniformity + uniformity_loss(hard, encoded.occurrences)
        losses["unique"] = weights.unique * unique_loss(encoded.assignment, encoded.occurrences)
    losses["uniformity"] = weights.uniformity * uniformity
    return losses
