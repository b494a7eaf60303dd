"""ComiRec-SA without torch (Cen et al., KDD 2020, arXiv 2005.09347); see ``model.rivals``."""

from typing import Any

import numpy as np

from model.arrays import Floats
from model.inference.arithmetic import softmax
from model.inference.reading import read_by_age, read_tensor
from model.inference.rival import Encoded, RivalInferenceEncoder, read_common, shares_of
from model.tensor_files import Tensors


class ComiRecSaInferenceEncoder(RivalInferenceEncoder):
    """One attention over the history for each interest (eq. 9 and 10).

    The share of an interaction that an interest holds is its part of the attention that all
    interests together pay to it.

    Args:
        hidden_weight: W1. Shape (h, d), float32.
        hidden_bias: Shape (h,), float32.
        heads: W2. Shape (k, h), float32.
        positions: p, the newest interaction's last. Shape (max_len, d), float32.
        common: See ``RivalInferenceEncoder``.
    """

    def __init__(
        self,
        *,
        hidden_weight: Floats,
        hidden_bias: Floats,
        heads: Floats,
        positions: Floats,
        **common: Any,
    ) -> None:
        super().__init__(n_interests=len(heads), **common)
        self._to_hidden = np.ascontiguousarray(hidden_weight.T)
        self._hidden_bias = hidden_bias
        self._to_heads = np.ascontiguousarray(heads.T)
        self._positions = positions

    def encode_vectors(self, vectors: Floats) -> Encoded:
        """See ``RivalInferenceEncoder.encode_vectors``."""
        placed = vectors + self._positions[-len(vectors) :]
        hidden = np.tanh(placed @ self._to_hidden + self._hidden_bias)
        attention = softmax(hidden @ self._to_heads, axis=0)
        return Encoded(attention.T @ vectors, shares_of(attention))


def load(tensors: Tensors, settings: dict[str, Any]) -> ComiRecSaInferenceEncoder:
    """Make the encoder of what its file holds.

    Raises:
        ValueError: Something is missing, or nothing can be encoded with it; the message names it.
    """
    common = read_common(tensors, settings)
    dim = common.item_vectors.shape[1]
    hidden_weight = read_tensor(tensors, "attention.hidden.weight", (None, dim))
    hidden = len(hidden_weight)
    return ComiRecSaInferenceEncoder(
        **common._asdict(),
        hidden_weight=hidden_weight,
        hidden_bias=read_tensor(tensors, "attention.hidden.bias", (hidden,)),
        heads=read_tensor(tensors, "attention.heads.weight", (None, hidden)),
        positions=read_by_age(tensors, "attention.positions", dim, common.max_len),
    )
