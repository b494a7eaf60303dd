"""Dynamic routing between the interactions of a history and the interests that they make up.

Sabour et al., "Dynamic Routing Between Capsules", NIPS 2017, as MIND (arXiv 1904.08030, algorithm
1) and ComiRec-DR (arXiv 2005.09347, algorithm 1) use it: an interaction spreads its weight of 1
over interests, more of it to those that agree with it.

A map M_j takes an item's vector to interest j. Both steps are linear in it, so that it is applied
to k sums and not to every interaction: u_j = squash(M_j Σ_t w_tj e_t), and the agreement
u_j · M_j e_t is (M_jᵀ u_j) · e_t.
"""

import torch
from torch import Tensor

ROUTING_ITERATIONS = 3
"""Of both papers."""

_LEAST_SQUARE = 1e-24


def squash(vectors: Tensor) -> Tensor:
    """(|x|² / (1 + |x|²)) · x / |x| along the last dimension; 0 stays 0."""
    squares = vectors.square().sum(-1, keepdim=True)
    return vectors * (squares * squares.clamp(min=_LEAST_SQUARE).rsqrt() / (1 + squares))


def route(vectors: Tensor, logits: Tensor, maps: Tensor, gains: Tensor | None = None) -> Tensor:
    """Route interactions to interests.

    No gradient flows through the weights w_tj, only through what they weigh, as in ComiRec's code.

    Args:
        vectors: e_t, 0 where there is no interaction: it then weighs nothing.
            Shape (batch, length, d), float32.
        logits: To start from; −inf where an interest is not in use. Shape (batch, length, k),
            or one that broadcasts to it.
        maps: M_j, one for each interest or one for all. Shape (k or 1, d, d), float32.
        gains: How much of e_t interest j is offered, s_tj; None: 1. Shape (batch, length, k).

    Returns:
        u. Shape (batch, k, d), float32.
    """
    fixed, fixed_maps = vectors.detach(), maps.detach()
    fixed_gains = None if gains is None else gains.detach()
    for _ in range(ROUTING_ITERATIONS - 1):
        capsules = _capsules(fixed, logits, fixed_maps, fixed_gains)
        agreement = fixed @ _map(capsules, fixed_maps.transpose(1, 2)).transpose(1, 2)
        logits = logits + (agreement if fixed_gains is None else agreement * fixed_gains)
    return _capsules(vectors, logits, maps, gains)


def _capsules(vectors: Tensor, logits: Tensor, maps: Tensor, gains: Tensor | None) -> Tensor:
    weights = logits.softmax(2).to(vectors.dtype)
    if gains is not None:
        weights = weights * gains
    return squash(_map(weights.transpose(1, 2) @ vectors, maps).float())


def _map(capsules: Tensor, maps: Tensor) -> Tensor:
    """Apply each interest's map. Shape (batch, k, d)."""
    return torch.matmul(capsules.transpose(0, 1), maps.transpose(1, 2)).transpose(0, 1)
