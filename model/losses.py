"""OPAL's losses, each a pure function with its equation (OPAL.md, "Losses")."""

import torch
from torch import Tensor


def future_item_loss(scores: Tensor, is_negative: Tensor) -> Tensor:
    """Future-item prediction: −log softmax of the positive among {positive} ∪ negatives.

    Args:
        scores: max_j (z_j · e_v) / τ, the positive in column 0. Shape (batch, 1 + N), float32.
        is_negative: False where a shared negative lies in the user's own future and therefore
            does not count. Shape (batch, N), bool.

    Returns:
        The mean over the batch, a scalar.
    """
    negatives = scores[:, 1:].masked_fill(~is_negative, -torch.inf)
    total = torch.cat((scores[:, :1], negatives), dim=1).logsumexp(1)
    return (total - scores[:, 0]).mean()


def score_items(interests: Tensor, items: Tensor, temperature: float) -> Tensor:
    """Score of items shared by the batch: max_j (z_j · e_v) / τ.

    Args:
        interests: z. Shape (batch, k, d), float32.
        items: Item vectors e_v. Shape (N, d), float32.
        temperature: τ.

    Returns:
        Shape (batch, N), float32.
    """
    batch, k, _ = interests.shape
    scores = interests.flatten(0, 1) @ items.T
    return scores.view(batch, k, -1).amax(1) / temperature


def score_own_item(interests: Tensor, items: Tensor, temperature: float) -> Tensor:
    """Score of one item per user: max_j (z_j · e_v) / τ.

    Args:
        interests: z. Shape (batch, k, d), float32.
        items: Each user's own item e_v. Shape (batch, d), float32.
        temperature: τ.

    Returns:
        Shape (batch,), float32.
    """
    return (interests @ items.unsqueeze(-1)).squeeze(-1).amax(1) / temperature


def orthogonality_loss(hyper_categories: Tensor) -> Tensor:
    """Keep hyper-categories apart: ‖C Cᵀ − I‖_F² / k².

    Args:
        hyper_categories: C, unit-length rows. Shape (k, d), float32.
    """
    k = len(hyper_categories)
    gram = hyper_categories @ hyper_categories.T
    return (gram - torch.eye(k, device=gram.device)).square().sum() / k**2


def uniformity_loss(assignment: Tensor, is_item: Tensor) -> Tensor:
    """Keep every hyper-category in use: std(p) / mean(p), p_j = mean of a_tj over interactions.

    The standard deviation is that of the k numbers themselves (divided by k, not k − 1), so that
    k = 1 gives 0 and not an undefined value.

    Args:
        assignment: a_tj, 0 where padded. Shape (batch, length, k), float32.
        is_item: Shape (batch, length), bool.
    """
    mass = assignment.sum((0, 1)) / is_item.sum().clamp(min=1)
    return mass.std(correction=0) / mass.mean().clamp(min=torch.finfo(mass.dtype).tiny)


def hard_assignment(assignment: Tensor) -> Tensor:
    """Keep of a_tj only what belongs to the interaction's hyper-category j*(t); shape kept."""
    return assignment * (assignment == assignment.amax(-1, keepdim=True))


def unique_loss(assignment: Tensor, is_item: Tensor) -> Tensor:
    """Let an interaction belong to one: cross-entropy of a_t and its own argmax, −log max_j a_tj.

    Args:
        assignment: a_tj. Shape (batch, length, k), float32.
        is_item: Shape (batch, length), bool.

    Returns:
        The mean over the interactions, a scalar.
    """
    strongest = assignment.amax(-1)[is_item]
    return -strongest.log().mean()
