"""CMI without torch (Li et al., SIGIR 2022, arXiv 2205.09593); see ``model.rivals``."""

import math
from typing import Any

import numpy as np

from model.arrays import Floats
from model.inference.arithmetic import normalise, softmax
from model.inference.gru import Gru, read_gru
from model.inference.lengths import model_of
from model.inference.parts import Parts
from model.inference.reading import read_tensor
from model.inference.rival import Encoded, RivalInferenceEncoder, read_common
from model.inference.transformer import Transformer, read_attention
from model.tensor_files import Tensors

ATTENDS = "cmi-attention"
"""What the file says as ``model`` where self-attention reads beside the GRU."""


class CmiInferenceEncoder(RivalInferenceEncoder):
    """An interest for each category, and the general interest in each of them.

    The share of an interaction that an interest holds is its assignment to the category.

    Args:
        categories: C. Shape (k, d), float32.
        temperature: τ of the assignment.
        gru: Over the history.
        head_weight: Shape (d, d), float32.
        head_bias: Shape (d,), float32.
        attention: Over the history too; None: nothing.
        common: See ``RivalInferenceEncoder``.
    """

    def __init__(
        self,
        *,
        categories: Floats,
        temperature: float,
        gru: Gru,
        head_weight: Floats,
        head_bias: Floats,
        attention: Transformer | None,
        **common: Any,
    ) -> None:
        super().__init__(n_interests=len(categories), **common)
        self._categories = categories
        self._to_logits = np.ascontiguousarray(categories.T) / np.float32(temperature)
        self._gru = gru
        self._head = np.ascontiguousarray(head_weight.T)
        self._head_bias = head_bias
        self._attention = attention

    @property
    def hyper_categories(self) -> Floats:
        """The categories. Shape (k, d), float32."""
        return self._categories

    def encode_vectors(self, vectors: Floats) -> Encoded:
        """See ``RivalInferenceEncoder.encode_vectors``."""
        assignment = softmax(vectors @ self._to_logits, axis=1)
        state = self._gru.last_state(vectors)
        general = normalise(np.maximum(state @ self._head + self._head_bias, 0))
        if self._attention is not None:
            attended = self._attention.newest_states(vectors, Parts([len(vectors)]))[0]
            general = normalise(general + normalise(attended))
        return Encoded(normalise(assignment.T @ vectors) + general, assignment)


def load(tensors: Tensors, settings: dict[str, Any]) -> CmiInferenceEncoder:
    """Make the encoder of what its file holds.

    Raises:
        ValueError: Something is missing, or nothing can be encoded with it; the message names it.
    """
    common = read_common(tensors, settings)
    dim = common.item_vectors.shape[1]
    temperature: Any = settings.get("temperature")
    if type(temperature) not in (int, float) or not 0 < temperature < math.inf:
        raise ValueError(f"temperature is {temperature!r}, expected a number above 0")
    model = model_of(tensors, settings)
    attention = read_attention(tensors, dim, common.max_len, model=model, attends=model == ATTENDS)
    return CmiInferenceEncoder(
        **common._asdict(),
        categories=read_tensor(tensors, "category", (None, dim)),
        temperature=temperature,
        gru=read_gru(tensors, dim),
        head_weight=read_tensor(tensors, "head.weight", (dim, dim)),
        head_bias=read_tensor(tensors, "head.bias", (dim,)),
        attention=attention,
    )
