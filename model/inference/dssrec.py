"""DSSRec without torch (Ma et al., KDD 2020); see ``model.rivals``."""

from typing import Any

import numpy as np

from model.arrays import Floats
from model.inference.arithmetic import softmax
from model.inference.reading import read_by_age, read_tensor
from model.inference.rival import Encoded, RivalInferenceEncoder, read_common
from model.inference.transformer import LayerNorm, Transformer, read_transformer
from model.tensor_files import Tensors


class DssRecInferenceEncoder(RivalInferenceEncoder):
    """An interest for each intention.

    The share of an interaction that an interest holds is the probability of the intention, p(j|t).

    Args:
        transformer: Over the history.
        prototypes: Normalised. Shape (k, d), float32.
        state_norm: Of states that are compared with prototypes.
        positions: Of the keys, the newest interaction's last. Shape (max_len, d), float32.
        key_norm: Of keys.
        key_weight: Shape (d, d), float32.
        key_bias: Shape (d,), float32.
        query_bias: Shape (d,), float32.
        query_norm: Of the query.
        history_bias: β. Shape (k, d), float32.
        intention_norm: Of the interests.
        common: See ``RivalInferenceEncoder``.
    """

    def __init__(
        self,
        *,
        transformer: Transformer,
        prototypes: Floats,
        state_norm: LayerNorm,
        positions: Floats,
        key_norm: LayerNorm,
        key_weight: Floats,
        key_bias: Floats,
        query_bias: Floats,
        query_norm: LayerNorm,
        history_bias: Floats,
        intention_norm: LayerNorm,
        **common: Any,
    ) -> None:
        super().__init__(n_interests=len(prototypes), **common)
        self._transformer = transformer
        self._scale = np.float32(self.dim**-0.5)
        self._to_prototypes = np.ascontiguousarray(prototypes.T) * self._scale
        self._state_norm = state_norm
        self._positions = positions
        self._key_norm = key_norm
        self._to_key = np.ascontiguousarray(key_weight.T)
        self._key_bias = key_bias
        self._query_bias = query_bias
        self._query_norm = query_norm
        self._history_bias = history_bias
        self._intention_norm = intention_norm

    def encode_vectors(self, vectors: Floats) -> Encoded:
        """See ``RivalInferenceEncoder.encode_vectors``."""
        states = self._transformer.states(vectors)
        clusters = softmax(self._state_norm(states) @ self._to_prototypes, axis=1)
        positions = self._positions[-len(vectors) :]
        keys = self._key_norm(states + positions)
        keys += np.maximum(keys @ self._to_key + self._key_bias, 0)
        query = self._query_norm(states[-1] + positions[-1] + self._query_bias)
        attention = softmax(keys @ query * self._scale, axis=0)
        weights: Floats = clusters * attention[:, np.newaxis]
        sums: Floats = weights.T @ states + self._history_bias
        return Encoded(self._intention_norm(sums), clusters)


def load(tensors: Tensors, settings: dict[str, Any]) -> DssRecInferenceEncoder:
    """Make the encoder of what its file holds.

    Raises:
        ValueError: Something is missing, or nothing can be encoded with it; the message names it.
    """
    common = read_common(tensors, settings)
    dim = common.item_vectors.shape[1]
    prototypes = read_tensor(tensors, "prototypes", (None, dim))
    return DssRecInferenceEncoder(
        **common._asdict(),
        transformer=read_transformer(tensors, dim, common.max_len),
        prototypes=LayerNorm.read(tensors, "prototype_norm", dim)(prototypes),
        state_norm=LayerNorm.read(tensors, "state_norm", dim),
        positions=read_by_age(tensors, "weight_positions", dim, common.max_len),
        key_norm=LayerNorm.read(tensors, "key_norm", dim),
        key_weight=read_tensor(tensors, "key.weight", (dim, dim)),
        key_bias=read_tensor(tensors, "key.bias", (dim,)),
        query_bias=read_tensor(tensors, "query_bias", (dim,)),
        query_norm=LayerNorm.read(tensors, "query_norm", dim),
        history_bias=read_tensor(tensors, "history_bias", (len(prototypes), dim)),
        intention_norm=LayerNorm.read(tensors, "intention_norm", dim),
    )
