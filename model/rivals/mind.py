"""MIND: interests by dynamic routing with one map for all of them.

Li et al., "Multi-Interest Network with Dynamic Routing for Recommendation at Tmall", CIKM 2019,
arXiv 1904.08030.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from model.layers.padded import PaddedHistories
from model.rivals.capsules import route
from model.rivals.rival import Rival

_MAP_START = 4.0


class Mind(Rival):
    """Behaviour-to-interest routing (section 3.3), then ReLU layers on each interest (3.4).

    The map S is shared by all interests, and what tells them apart are the logits that routing
    starts from, drawn from a Gaussian. The paper draws them anew for every user and request; the
    same history would then never get the same answer twice. Here they are drawn once, for each
    age of an interaction and each interest, and belong to the model, in training and served.

    A user with |I| interactions has K' = max(1, min(k, ⌊log2 |I|⌋)) interests (section 3.3). The
    rest repeat the first one, which changes no score: an item counts by the interest that fits it
    best.

    The paper leaves open how S starts and how many ReLU layers there are. S is a multiple of the
    identity, and the two layers together start as the identity, x = relu(x) − relu(−x): item
    vectors that training starts from then mean something from the first step. The last layer has
    no ReLU: it would keep interests out of all but one corner of the space. User attributes, which
    the paper lets in here, are not part of the data.

    Label-aware attention is that of the paper for p → ∞ (see ``Rival.prediction_loss``).

    Args:
        sizes: See ``Rival``.
    """

    name: ClassVar[str] = "mind"
    routing_start: Tensor

    def __init__(self, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.register_buffer("routing_start", torch.randn(self.max_len, self.n_interests))
        self.bilinear = nn.Parameter(_MAP_START * torch.eye(self.dim))
        self.wide = nn.Linear(self.dim, 2 * self.dim)
        self.narrow = nn.Linear(2 * self.dim, self.dim)
        self._start_layers_as_identity()

    @torch.no_grad()
    def _start_layers_as_identity(self) -> None:
        identity = torch.eye(self.dim)
        self.wide.weight.copy_(torch.cat([identity, -identity]))
        self.narrow.weight.copy_(torch.cat([identity, -identity], dim=1))
        self.wide.bias.zero_()
        self.narrow.bias.zero_()

    def encode(self, histories: PaddedHistories) -> Tensor:
        """See ``Rival.encode``."""
        # Not how many are left: a history of which training drops a part has as many interests as
        # it will have when it is served.
        in_use = self._in_use(histories.ages.amax(1) + 1)
        logits = self.routing_start[histories.ages]
        logits = logits.masked_fill(~in_use.unsqueeze(1), -torch.inf)
        capsules = route(histories.vectors, logits, self.bilinear.unsqueeze(0))
        interests = self.narrow(self.wide(capsules).relu())
        return torch.where(in_use.unsqueeze(2), interests, interests[:, :1])

    def _in_use(self, lengths: Tensor) -> Tensor:
        """Interest j < K', where K' = max(1, min(k, ⌊log2 length⌋)). Shape (batch, k), bool."""
        shortest = 2 ** torch.arange(1, self.n_interests + 1, device=lengths.device)
        shortest[0] = 0
        return lengths.unsqueeze(1) >= shortest

    def own_tensors(self) -> dict[str, Tensor]:
        """See ``Rival.own_tensors``."""
        return {
            "routing.start": self.routing_start,
            "routing.map": self.bilinear,
            "wide.weight": self.wide.weight,
            "wide.bias": self.wide.bias,
            "narrow.weight": self.narrow.weight,
            "narrow.bias": self.narrow.bias,
        }
