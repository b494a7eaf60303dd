"""ComiRec-DR without torch (Cen et al., KDD 2020, arXiv 2005.09347); see ``model.rivals``."""

from typing import Any

import numpy as np

from model.arrays import Floats
from model.inference.capsules import route
from model.inference.reading import read_by_age, read_tensor
from model.inference.rival import Encoded, RivalInferenceEncoder, read_common
from model.tensor_files import Tensors


class ComiRecDrInferenceEncoder(RivalInferenceEncoder):
    """Dynamic routing with a map for each interest, from logits of 0.

    Args:
        maps: M_j. Shape (k, d, d), float32.
        gains: s_tj, the newest interaction's last. Shape (max_len, k), float32.
        common: See ``RivalInferenceEncoder``.
    """

    def __init__(self, *, maps: Floats, gains: Floats, **common: Any) -> None:
        super().__init__(n_interests=len(maps), **common)
        self._maps = maps
        self._gains = gains

    def encode_vectors(self, vectors: Floats) -> Encoded:
        """See ``RivalInferenceEncoder.encode_vectors``."""
        gains = self._gains[-len(vectors) :]
        capsules, weights = route(vectors, np.zeros_like(gains), self._maps, gains)
        return Encoded(capsules, weights)


def load(tensors: Tensors, settings: dict[str, Any]) -> ComiRecDrInferenceEncoder:
    """Make the encoder of what its file holds.

    Raises:
        ValueError: Something is missing, or nothing can be encoded with it; the message names it.
    """
    common = read_common(tensors, settings)
    dim = common.item_vectors.shape[1]
    maps = read_tensor(tensors, "routing.maps", (None, dim, dim))
    return ComiRecDrInferenceEncoder(
        **common._asdict(),
        maps=maps,
        gains=read_by_age(tensors, "routing.gains", len(maps), common.max_len),
    )
