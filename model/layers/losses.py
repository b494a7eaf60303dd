"""OPAL's losses, each a pure function with its equation (arXiv 2407.14741: losses)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def future_item_loss(
    positive_scores: Tensor,
    owners: Tensor,
    negative_scores: Tensor,
    own_future: Tensor,
) -> Tensor:
    """Future-item prediction: −log softmax of a positive among {positives} ∪ negatives.

    With one positive for each user it is the paper's loss. Several positives of a user are equal:
    each one's −log softmax counts the same.

    Args:
        positive_scores: max_j (z_j · e_v) / τ of each positive. Shape (P,), float32.
        owners: The user of each positive; every user has some. Shape (P,), int64.
        negative_scores: Likewise of the shared negatives, the logarithm of their weight added
            where they have one. Shape (batch, N), float32.
        own_future: User and negative (0 to N − 1) of each shared negative that lies in that user's
            own future and therefore does not count. Shape (2, n), int64.

    Returns:
        The mean over the batch, a scalar.
    """
    users, negatives = own_future
    batch = len(negative_scores)
    negative_scores = negative_scores.index_put(
        (users, negatives), negative_scores.new_tensor(-torch.inf)
    )
    highest = negative_scores.detach().amax(1)
    highest = highest.scatter_reduce(0, owners, positive_scores.detach(), "amax")
    total = (negative_scores - highest.unsqueeze(1)).exp().sum(1)
    total = total.index_add(0, owners, (positive_scores - highest[owners]).exp())
    positives = torch.bincount(owners, minlength=batch)
    own_mean = total.new_zeros(batch).index_add(0, owners, positive_scores) / positives
    return (total.log() + highest - own_mean).mean()


def score_items(interests: Tensor, items: Tensor, temperature: Tensor | float) -> Tensor:
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
    return best_interest(scores.view(batch, k, -1)) / temperature


def score_own_items(
    interests: Tensor, owners: Tensor, items: Tensor, temperature: Tensor | float
) -> Tensor:
    """Score of items that belong to one user each: max_j (z_j · e_v) / τ.

    Args:
        interests: z. Shape (batch, k, d), float32.
        owners: The user of each item. Shape (P,), int64.
        items: Item vectors e_v. Shape (P, d), float32.
        temperature: τ.

    Returns:
        Shape (P,), float32.
    """
    own = interests.index_select(0, owners)
    return (own * items.unsqueeze(1)).sum(-1).amax(1) / temperature


def best_interest(scores: Tensor) -> Tensor:
    """max_j of scores; interests that share the maximum share the gradient evenly, as in amax.

    Args:
        scores: Shape (batch, k, N), float32.

    Returns:
        Shape (batch, N), float32.
    """
    best: Tensor = _BestInterest.apply(scores)  # type: ignore[no-untyped-call]
    return best


class _BestInterest(torch.autograd.Function):
    """``amax(1)`` with a backward that takes a third of the time of torch's on a CPU."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        best = scores.amax(1)
        ctx.save_for_backward(scores, best)
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        scores, best = ctx.saved_tensors
        # 1 and 0 as floats: torch compares into booleans, and converts them, far more slowly.
        is_best: Tensor = (scores - best.unsqueeze(1)).eq_(0)
        return is_best.mul_((gradient / is_best.sum(1)).unsqueeze(1))


def orthogonality_loss(hyper_categories: Tensor) -> Tensor:
    """Keep hyper-categories apart: ‖C Cᵀ − I‖_F² / k².

    Args:
        hyper_categories: C, unit-length rows. Shape (k, d), float32.
    """
    k = len(hyper_categories)
    gram = hyper_categories @ hyper_categories.T
    return (gram - torch.eye(k, device=gram.device)).square().sum() / k**2


def uniformity_loss(assignment: Tensor, occurrences: Tensor) -> Tensor:
    """Keep every hyper-category in use: std(p) / mean(p), p_j = mean of a_tj over interactions.

    The standard deviation is that of the k numbers themselves (divided by k, not k − 1), so that
    k = 1 gives 0 and not an undefined value.

    Args:
        assignment: a_tj of distinct items. Shape (U, k), float32.
        occurrences: Interactions of the batch with each. Shape (U,), float32.
    """
    mass = occurrences @ assignment / occurrences.sum().clamp(min=1)
    return mass.std(correction=0) / mass.mean().clamp(min=torch.finfo(mass.dtype).tiny)


def hard_assignment(assignment: Tensor) -> Tensor:
    """Keep of a_tj only what belongs to the interaction's hyper-category j*(t); shape kept."""
    return assignment * (assignment == assignment.amax(-1, keepdim=True))


def unique_loss(assignment: Tensor, occurrences: Tensor) -> Tensor:
    """Let an interaction belong to one: cross-entropy of a_t and its own argmax, −log max_j a_tj.

    Args:
        assignment: a_tj of distinct items. Shape (U, k), float32.
        occurrences: Interactions of the batch with each, not all 0. Shape (U,), float32.

    Returns:
        The mean over the interactions, a scalar.
    """
    return -(occurrences @ assignment.amax(-1).log()) / occurrences.sum()
