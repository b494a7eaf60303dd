"""What the encoders in NumPy compute alike."""

import numpy as np

from model.arrays import Floats

LEAST_SQUARE = np.float32(1e-24)  # what is shorter than 1e-12 has no direction (model.encoder too)


def normalise(vectors: Floats) -> Floats:
    """Scale vectors to unit length along the last axis; 0 stays 0."""
    result: Floats = vectors / _lengths(_squares(vectors))
    return result


def normalise_or(vectors: Floats, fallback: Floats) -> Floats:
    """Scale vectors to unit length; what has no direction becomes its fallback.

    Args:
        vectors: Shape (..., d), float32.
        fallback: Of a shape that fits that of ``vectors`` by broadcasting.
    """
    squares = _squares(vectors)
    result: Floats = vectors / _lengths(squares)
    np.copyto(result, fallback, where=squares < LEAST_SQUARE)
    return result


def softmax(logits: Floats, axis: int) -> Floats:
    """Softmax along an axis that is not empty; shape kept."""
    exponentials = np.exp(logits - logits.max(axis=axis, keepdims=True))
    result: Floats = exponentials / exponentials.sum(axis=axis, keepdims=True)
    return result


def _squares(vectors: Floats) -> Floats:
    squares: Floats = np.vecdot(vectors, vectors)[..., np.newaxis]
    return squares


def _lengths(squares: Floats) -> Floats:
    lengths: Floats = np.sqrt(np.maximum(squares, LEAST_SQUARE))
    return lengths
