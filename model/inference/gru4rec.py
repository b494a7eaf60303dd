"""GRU4Rec without torch (Hidasi et al., ICLR 2016, arXiv 1511.06939); see ``model.rivals``."""

from typing import Any

import numpy as np

from model.arrays import Floats
from model.inference.gru import Gru, read_gru
from model.inference.rival import Encoded, RivalInferenceEncoder, read_common
from model.tensor_files import Tensors


class Gru4RecInferenceEncoder(RivalInferenceEncoder):
    """A single vector, the last state of a GRU; it holds all of the history.

    Args:
        gru: Over the history.
        common: See ``RivalInferenceEncoder``.
    """

    def __init__(self, *, gru: Gru, **common: Any) -> None:
        super().__init__(n_interests=1, **common)
        self._gru = gru

    def encode_vectors(self, vectors: Floats) -> Encoded:
        """See ``RivalInferenceEncoder.encode_vectors``."""
        state = self._gru.last_state(vectors)
        return Encoded(state[np.newaxis], np.ones((len(vectors), 1), dtype=np.float32))


def load(tensors: Tensors, settings: dict[str, Any]) -> Gru4RecInferenceEncoder:
    """Make the encoder of what its file holds.

    Raises:
        ValueError: Something is missing, or nothing can be encoded with it; the message names it.
    """
    common = read_common(tensors, settings)
    return Gru4RecInferenceEncoder(
        gru=read_gru(tensors, common.item_vectors.shape[1]), **common._asdict()
    )
