"""Dynamic routing without torch; see ``model.rivals.capsules``, which has the equations."""

from typing import NamedTuple

import numpy as np

from model.arrays import Floats
from model.inference.arithmetic import LEAST_SQUARE, softmax

ROUTING_ITERATIONS = 3


class Routed(NamedTuple):
    """What routing leads to.

    Attributes:
        capsules: u. Shape (k, d), float32.
        weights: w_tj of the last iteration; each row sums to 1. Shape (length, k), float32.
    """

    capsules: Floats
    weights: Floats


def squash(vectors: Floats) -> Floats:
    """(|x|² / (1 + |x|²)) · x / |x| along the last axis; 0 stays 0."""
    squares = np.vecdot(vectors, vectors)[..., np.newaxis]
    result: Floats = vectors * (
        squares / np.sqrt(np.maximum(squares, LEAST_SQUARE)) / (1 + squares)
    )
    return result


def route(vectors: Floats, logits: Floats, maps: Floats, gains: Floats | None = None) -> Routed:
    """Route the interactions of one history to interests.

    Args:
        vectors: e_t. Shape (length, d), float32.
        logits: To start from. Shape (length, k), float32.
        maps: M_j, one for each interest or one for all. Shape (k or 1, d, d), float32.
        gains: s_tj; None: 1. Shape (length, k), float32.
    """
    weights = softmax(logits, axis=1)
    capsules = _capsules(vectors, weights, maps, gains)
    for _ in range(ROUTING_ITERATIONS - 1):
        agreement = vectors @ _map(capsules, maps.transpose(0, 2, 1)).T
        logits = logits + (agreement if gains is None else agreement * gains)
        weights = softmax(logits, axis=1)
        capsules = _capsules(vectors, weights, maps, gains)
    return Routed(capsules, weights)


def _capsules(vectors: Floats, weights: Floats, maps: Floats, gains: Floats | None) -> Floats:
    offered: Floats = weights if gains is None else weights * gains
    return squash(_map(offered.T @ vectors, maps))


def _map(capsules: Floats, maps: Floats) -> Floats:
    """Apply each interest's map. Shape (k, d)."""
    result: Floats = np.matmul(maps, capsules[..., np.newaxis])[..., 0]
    return result
