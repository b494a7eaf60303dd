"""ComiRec-DR: interests by dynamic routing with a map for each of them.

Cen et al., "Controllable Multi-Interest Framework for Recommendation", KDD 2020, arXiv 2005.09347,
section 3.2 (dynamic routing).
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from model.layers.padded import PaddedHistories
from model.rivals.capsules import route
from model.rivals.rival import Rival

_MAP_START = 4.0
_MAP_NOISE = 0.3


class ComiRecDr(Rival):
    """ê_tj = s_tj M_j e_t, routed from logits of 0, as the authors' code does (algorithm 1).

    The paper has a d × d matrix W_tj for each place t of the history and each interest j, L k d²
    numbers: more than the item table of most logs. Here it is a matrix for each interest times a
    number s_tj for each age and interest, which starts as 1; as with the position embeddings of
    ComiRec-SA, places count from the newest interaction.

    M_j starts as a multiple of the identity, so that item vectors which training starts from mean
    something from the first step, plus noise, which tells interests apart: from logits of 0
    nothing else does.

    Args:
        sizes: See ``Rival``.
    """

    name: ClassVar[str] = "comirec-dr"

    def __init__(self, **sizes: Any) -> None:
        super().__init__(**sizes)
        noise = torch.randn(self.n_interests, self.dim, self.dim) / self.dim**0.5
        self.maps = nn.Parameter(_MAP_START * (torch.eye(self.dim) + _MAP_NOISE * noise))
        self.gains = nn.Parameter(torch.ones(self.max_len, self.n_interests))

    def encode(self, histories: PaddedHistories) -> Tensor:
        """See ``Rival.encode``."""
        gains = self.gains[histories.ages]
        return route(histories.vectors, torch.zeros_like(gains), self.maps, gains)

    def own_tensors(self) -> dict[str, Tensor]:
        """See ``Rival.own_tensors``."""
        return {"routing.maps": self.maps, "routing.gains": self.gains}
