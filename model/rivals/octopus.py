"""Octopus: an elastic archive network, which files interactions into the channels that fit them.

Liu et al., "Octopus: Comprehensive and Elastic User Representation for the Generation of
Recommendation Candidates", SIGIR 2020.

The full text was not at hand. What follows rests on what summaries of it say: a fixed set of
channels, orthogonal to each other, that a history activates; each active channel gives one vector,
by attention to what it holds; channels are kept apart by a regulariser and learned to span the
items by reconstruction; candidates of the channels compete by score, or each channel is allotted
a number of them.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from model.arrays import Floats
from model.config.training_config import TrainingConfig
from model.data.cooccurrence import cluster_directions
from model.layers.losses import orthogonality_loss
from model.layers.padded import PaddedHistories
from model.rivals.batch import RivalBatch
from model.rivals.rival import Rival

_ATTENTION_START = 3.0


class Octopus(Rival):
    """Channel c(t) = argmax_j h_j · e_t; z_j = Σ a_t e_t over the interactions of channel j.

    Chosen here, because the summaries leave it open:

    - a_t is the softmax of h_j · (A e_t) over the interactions of the channel. A starts as a
      multiple of the identity: what fits a channel best speaks for it most. (From A = 0, where all
      that it holds speaks alike, validation recall on lastfm was lower, 0.236 to 0.241.)
    - A channel that holds nothing is not active: it repeats the one that holds most, which changes
      no score, since an item counts by the interest that fits it best.
    - Candidates compete by score, as those of all models here do: a learned allotment of places
      needs lists, and the index merges by score.
    - Where item vectors start from co-occurrence, channels start from clusters of them, as OPAL's
      hyper-categories do; else they are drawn orthogonal.
    - The reconstruction Σ ‖e_t − Hᵀ H e_t‖² moves the channels alone, not the items, which would
      gather in a space of k dimensions.

    Args:
        sizes: See ``Rival``.
    """

    name: ClassVar[str] = "octopus"

    def __init__(self, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.channels = nn.Parameter(torch.empty(self.n_interests, self.dim))
        nn.init.orthogonal_(self.channels)
        self.attention = nn.Parameter(_ATTENTION_START * torch.eye(self.dim))

    @torch.no_grad()
    def start_from(self, item_vectors: Floats, random: np.random.Generator) -> None:
        """See ``TrainableEncoder.start_from``."""
        super().start_from(item_vectors, random)
        directions = cluster_directions(item_vectors, self.n_interests, random)
        self.channels.copy_(torch.from_numpy(directions))

    def encode(self, histories: PaddedHistories) -> Tensor:
        """See ``Rival.encode``."""
        vectors = histories.vectors
        channel = (vectors @ self.channels.T).argmax(2, keepdim=True)
        places = torch.arange(self.n_interests, device=vectors.device)
        is_held = (channel == places) & histories.is_item.unsqueeze(2)
        attention = _softmax_where(is_held, vectors @ (self.channels @ self.attention).T)
        interests = attention.to(vectors.dtype).transpose(1, 2) @ vectors
        held = is_held.sum(1)
        fullest = held.argmax(1).view(-1, 1, 1).expand(-1, 1, self.dim)
        return torch.where((held > 0).unsqueeze(2), interests, interests.gather(1, fullest))

    def own_losses(
        self,
        batch: RivalBatch,
        interests: Tensor,  # noqa: ARG002
        config: TrainingConfig,
    ) -> dict[str, Tensor]:
        """Orthogonality of the channels, and the reconstruction of the histories' items by them.

        See ``Rival.own_losses``. The weight of the former is OPAL's.
        """
        histories = batch.histories
        vectors = histories.vectors[histories.is_item].detach()
        missed = vectors - (vectors @ self.channels.T) @ self.channels
        weight = config.loss_weights.orthogonality
        return {
            "orthogonality": weight * orthogonality_loss(self.channels),
            "reconstruction": missed.square().sum(1).mean(),
        }

    def own_tensors(self) -> dict[str, Tensor]:
        """See ``Rival.own_tensors``."""
        return {"channels": self.channels, "attention": self.attention}


def _softmax_where(is_held: Tensor, logits: Tensor) -> Tensor:
    """Softmax along the history over what is held alone; 0 elsewhere, and where nothing is held.

    Args:
        is_held: Shape (batch, length, k), bool.
        logits: Likewise, float32.
    """
    logits = logits.float().masked_fill(~is_held, torch.finfo(torch.float32).min)
    exponentials = (logits - logits.detach().amax(1, keepdim=True)).exp() * is_held
    return exponentials / exponentials.sum(1, keepdim=True).clamp(min=1)
