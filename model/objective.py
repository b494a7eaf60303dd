"""What a training step minimises: the weighted sum of a stage's losses over one batch."""

import torch
from torch import Tensor

from model.config import TrainingConfig
from model.histories import TrainingBatch
from model.losses import (
    future_item_loss,
    hard_assignment,
    orthogonality_loss,
    score_items,
    score_own_item,
    uniformity_loss,
    unique_loss,
)
from model.opal import OpalEncoder, Stage


def training_loss(
    encoder: OpalEncoder, batch: TrainingBatch, stage: Stage, config: TrainingConfig
) -> Tensor:
    """Return the weighted sum of the losses of a stage over one batch, a scalar."""
    histories, positives, negatives, is_negative = (
        torch.from_numpy(array)
        for array in (batch.histories, batch.positives, batch.negatives, batch.is_negative)
    )
    encoded = encoder(histories, stage)
    scores = torch.cat(
        (
            score_own_item(
                encoded.interests, encoder.embed(positives), config.temperature
            ).unsqueeze(1),
            score_items(encoded.interests, encoder.embed(negatives), config.temperature),
        ),
        dim=1,
    )
    weights = config.loss_weights
    loss = future_item_loss(scores, is_negative)
    loss = loss + weights.orthogonality * orthogonality_loss(encoder.hyper_categories())
    uniformity = uniformity_loss(encoded.assignment, encoded.is_item)
    if stage == "hard":
        hard = hard_assignment(encoded.assignment)
        uniformity = uniformity + uniformity_loss(hard, encoded.is_item)
        loss = loss + weights.unique * unique_loss(encoded.assignment, encoded.is_item)
    return loss + weights.uniformity * uniformity
