"""SASRec without torch (Kang and McAuley, ICDM 2018, arXiv 1808.09781); see ``model.rivals``."""

from typing import Any

import numpy as np

from model.arrays import Floats
from model.inference.parts import Parts
from model.inference.rival import Encoded, RivalInferenceEncoder, read_common
from model.inference.transformer import Transformer, read_transformer
from model.tensor_files import Tensors


class SasRecInferenceEncoder(RivalInferenceEncoder):
    """A single vector, the newest state of a transformer; it holds all of the history.

    Args:
        transformer: Over the history.
        common: See ``RivalInferenceEncoder``.
    """

    def __init__(self, *, transformer: Transformer, **common: Any) -> None:
        super().__init__(n_interests=1, **common)
        self._transformer = transformer

    def encode_vectors(self, vectors: Floats) -> Encoded:
        """See ``RivalInferenceEncoder.encode_vectors``."""
        newest = self._transformer.newest_states(vectors, Parts([len(vectors)]))
        return Encoded(newest[0], np.ones((len(vectors), 1), dtype=np.float32))


def load(tensors: Tensors, settings: dict[str, Any]) -> SasRecInferenceEncoder:
    """Make the encoder of what its file holds.

    Raises:
        ValueError: Something is missing, or nothing can be encoded with it; the message names it.
    """
    common = read_common(tensors, settings)
    dim = common.item_vectors.shape[1]
    return SasRecInferenceEncoder(
        transformer=read_transformer(tensors, dim, common.max_len), **common._asdict()
    )
