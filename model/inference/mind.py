"""MIND without torch (Li et al., CIKM 2019, arXiv 1904.08030); see ``model.rivals.mind``."""

from typing import Any

import numpy as np

from model.arrays import Floats
from model.inference.capsules import route
from model.inference.reading import read_by_age, read_tensor
from model.inference.rival import Encoded, RivalInferenceEncoder, read_common
from model.tensor_files import Tensors


class MindInferenceEncoder(RivalInferenceEncoder):
    """Dynamic routing with one map, then ReLU layers; short histories use fewer interests.

    Interests that are not in use repeat the first and hold nothing of the history.

    Args:
        start: Logits that routing starts from, the newest interaction's last.
            Shape (max_len, k), float32.
        bilinear: S. Shape (d, d), float32.
        wide: Weight and bias. Shapes (h, d) and (h,), float32.
        narrow: Weight and bias. Shapes (d, h) and (d,), float32.
        common: See ``RivalInferenceEncoder``.
    """

    def __init__(
        self,
        *,
        start: Floats,
        bilinear: Floats,
        wide: tuple[Floats, Floats],
        narrow: tuple[Floats, Floats],
        **common: Any,
    ) -> None:
        super().__init__(n_interests=start.shape[1], **common)
        self._start = start
        self._maps = bilinear[np.newaxis]
        self._wide, self._wide_bias = np.ascontiguousarray(wide[0].T), wide[1]
        self._narrow, self._narrow_bias = np.ascontiguousarray(narrow[0].T), narrow[1]

    def encode_vectors(self, vectors: Floats) -> Encoded:
        """See ``RivalInferenceEncoder.encode_vectors``."""
        length, k = len(vectors), self.n_interests
        in_use = max(1, min(k, length.bit_length() - 1))  # K' = max(1, min(k, ⌊log2 length⌋))
        capsules, weights = route(vectors, self._start[-length:, :in_use], self._maps)
        hidden = np.maximum(capsules @ self._wide + self._wide_bias, 0)
        interests = hidden @ self._narrow + self._narrow_bias
        return Encoded(
            interests[np.r_[:in_use, np.zeros(k - in_use, dtype=np.int64)]],
            np.pad(weights, ((0, 0), (0, k - in_use))),
        )


def load(tensors: Tensors, settings: dict[str, Any]) -> MindInferenceEncoder:
    """Make the encoder of what its file holds.

    Raises:
        ValueError: Something is missing, or nothing can be encoded with it; the message names it.
    """
    common = read_common(tensors, settings)
    dim = common.item_vectors.shape[1]
    wide = read_tensor(tensors, "wide.weight", (None, dim))
    hidden = len(wide)
    return MindInferenceEncoder(
        **common._asdict(),
        start=read_by_age(tensors, "routing.start", None, common.max_len),
        bilinear=read_tensor(tensors, "routing.map", (dim, dim)),
        wide=(wide, read_tensor(tensors, "wide.bias", (hidden,))),
        narrow=(
            read_tensor(tensors, "narrow.weight", (dim, hidden)),
            read_tensor(tensors, "narrow.bias", (dim,)),
        ),
    )
