"""What OPAL minimises besides the loss of future items: what guides its hyper-categories."""

from torch import Tensor

from model.config.loss_weights import LossWeights
from model.layers.losses import hard_assignment, orthogonality_loss, uniformity_loss, unique_loss


def guidance_losses(
    hyper_categories: Tensor,
    assignment: Tensor,
    occurrences: Tensor,
    weights: LossWeights,
    *,
    is_hard: bool,
) -> dict[str, Tensor]:
    """Return these losses over one batch by name, weighted; each a scalar.

    Args:
        hyper_categories: C, unit-length rows. Shape (k, d), float32.
        assignment: a_tj of the batch's distinct items. Shape (U, k), float32.
        occurrences: Interactions of the batch with each. Shape (U,), float32.
        weights: Of the losses.
        is_hard: Whether it is stage 2.
    """
    losses = {"orthogonality": weights.orthogonality * orthogonality_loss(hyper_categories)}
    uniformity = uniformity_loss(assignment, occurrences)
    if is_hard:
        uniformity = uniformity + uniformity_loss(hard_assignment(assignment), occurrences)
        losses["unique"] = weights.unique * unique_loss(assignment, occurrences)
    losses["uniformity"] = weights.uniformity * uniformity
    return losses
