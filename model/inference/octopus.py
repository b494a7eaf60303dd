"""Octopus without torch (Liu et al., SIGIR 2020); see ``model.rivals.octopus``."""

from typing import Any

import numpy as np

from model.arrays import Floats
from model.inference.arithmetic import softmax
from model.inference.reading import read_tensor
from model.inference.rival import Encoded, RivalInferenceEncoder, read_common
from model.tensor_files import Tensors


class OctopusInferenceEncoder(RivalInferenceEncoder):
    """An interaction belongs to one channel; a channel that holds nothing repeats the fullest.

    Args:
        channels: H. Shape (k, d), float32.
        attention: A. Shape (d, d), float32.
        common: See ``RivalInferenceEncoder``.
    """

    def __init__(self, *, channels: Floats, attention: Floats, **common: Any) -> None:
        super().__init__(n_interests=len(channels), **common)
        self._to_channels = np.ascontiguousarray(channels.T)
        self._to_logits = np.ascontiguousarray((channels @ attention).T)

    def encode_vectors(self, vectors: Floats) -> Encoded:
        """See ``RivalInferenceEncoder.encode_vectors``."""
        channel = (vectors @ self._to_channels).argmax(axis=1)
        logits = vectors @ self._to_logits
        held = np.bincount(channel, minlength=self.n_interests)
        interests = np.empty((self.n_interests, self.dim), dtype=np.float32)
        for j in np.flatnonzero(held):
            own = channel == j
            interests[j] = softmax(logits[own, j], axis=0) @ vectors[own]
        interests[held == 0] = interests[held.argmax()]
        return Encoded(interests, np.eye(self.n_interests, dtype=np.float32)[channel])


def load(tensors: Tensors, settings: dict[str, Any]) -> OctopusInferenceEncoder:
    """Make the encoder of what its file holds.

    Raises:
        ValueError: Something is missing, or nothing can be encoded with it; the message names it.
    """
    common = read_common(tensors, settings)
    dim = common.item_vectors.shape[1]
    return OctopusInferenceEncoder(
        **common._asdict(),
        channels=read_tensor(tensors, "channels", (None, dim)),
        attention=read_tensor(tensors, "attention", (dim, dim)),
    )
