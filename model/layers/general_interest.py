"""The general interest: what is made of all interactions in order, whatever their category.

CMI (arXiv 2205.09593) adds that of a GRU to each interest; OPAL's paper has none. It knows in which
order things were taken, which sums do not. A block of self-attention (SASRec, arXiv 1808.09781) may
read beside the GRU, in OPAL and in CMI: the one looks at any interaction, the other goes from one
to the next. Both learn by what came next after each interaction (``model.layers.next_item``): by
what lies after the cut alone they learn too slowly to help (docs/recipe.md).
"""

import math
from typing import NamedTuple

from torch import Tensor, nn

from model.encoder import normalize, scalar
from model.layers.gru import all_states
from model.layers.padded import LaidOutHistories
from model.layers.ragged import RaggedRows
from model.layers.transformer import CausalTransformer

N_BLOCKS = 1
ATTENTION_DROPOUT = 0.2
"""As of the rivals that attend (``model.rivals.sasrec``)."""


class ReadHistories(NamedTuple):
    """What of histories was read, and what was made of it.

    Attributes:
        states: After each of these interactions, unit length. Shape (n, d), float32.
        rows: Of the item vectors: history after history, oldest first. Shape (n,), int64.
        lengths: Interactions of each history. Shape (batch,), int64.
    """

    states: Tensor
    rows: Tensor
    lengths: Tensor


class GeneralInterest(nn.Module):
    """λ g with g = norm(W h + b), h the last state of a GRU; 0 where there is no history.

    With self-attention g = norm(norm(W h + b) + norm(x)), x its state at the newest interaction.
    The GRU is the evolution network's, and is not held here.

    Args:
        dim: d.
        weight: λ to start from; it is learned.
        length: Interactions that it reads at most, the newest ones: each costs a step, one after
            the other. None: all that are given.
        positions: Ages of interactions that self-attention tells apart; None: there is none.
    """

    def __init__(
        self,
        *,
        dim: int,
        weight: float,
        length: int | None = None,
        positions: int | None = None,
    ) -> None:
        super().__init__()
        self.length = length
        self.head = nn.Linear(dim, dim)
        self.log_weight = scalar(math.log(weight), learned=True)
        self.attention = None if positions is None else new_attention(dim, positions)

    @property
    def weight(self) -> Tensor:
        """λ, a scalar."""
        return self.log_weight.exp()

    def read(
        self, gru: nn.GRU, vectors: Tensor, histories: RaggedRows, ages: Tensor
    ) -> ReadHistories:
        """Read each history, or its ``length`` newest interactions.

        Args:
            gru: One layer, no biases, time first.
            vectors: e_v of distinct items. Shape (U, d), float32.
            histories: A part for each user: rows of ``vectors``, oldest first.
            ages: As in ``OpalEncoder.encode``. Shape (n_interactions,), int64.
        """
        rows, parts, lengths = histories.rows, histories.parts(), histories.lengths
        n_users = len(lengths)
        if self.length is not None:
            is_read = ages < self.length
            rows, parts, ages = rows[is_read], parts[is_read], ages[is_read]
            lengths = parts.bincount(minlength=n_users)
        if len(rows) == 0:
            return ReadHistories(vectors.new_zeros(0, vectors.shape[1]), rows, lengths)
        states = self.head(all_states(gru, vectors, rows, parts, n_users))
        # Half precision ends here: norm(x) would lose short vectors in it.
        states = normalize(states.to(vectors.dtype))
        if self.attention is not None:
            laid_out = LaidOutHistories(vectors.index_select(0, rows), lengths[lengths > 0], ages)
            attended = self.attention(laid_out)
            states = with_attended(states, attended.to(vectors.dtype))
        return ReadHistories(states, rows, lengths)

    def forward(self, read: ReadHistories) -> Tensor:
        """Return λ g of each user. Shape (batch, d), float32."""
        users = read.lengths.nonzero()[:, 0]
        newest = read.states.index_select(0, read.lengths.cumsum(0)[users] - 1)
        result = newest.new_zeros(len(read.lengths), newest.shape[1])
        return result.index_copy(0, users, self.weight * newest)

    def exported(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Return what ``model.inference.general`` needs: tensors by name, and settings.

        Programs that know no general interest, or none that attends, refuse such a ``model``
        instead of leaving a part of it out.
        """
        tensors = {f"general.{name}": value for name, value in self.head.state_dict().items()}
        model = "opal-general"
        if self.attention is not None:
            tensors |= self.attention.tensors()
            model = "opal-attention"
        weight, length = self.weight.item(), self.length
        settings: dict[str, object] = {"model": model, "general": weight, "general_len": length}
        return tensors, settings


def new_attention(dim: int, positions: int) -> CausalTransformer:
    """Make what reads beside the GRU.

    Args:
        dim: d.
        positions: Ages of interactions that it tells apart.
    """
    return CausalTransformer(
        dim=dim, max_len=positions, n_blocks=N_BLOCKS, dropout=ATTENTION_DROPOUT
    )


def with_attended(states: Tensor, attended: Tensor) -> Tensor:
    """norm(g + norm(x)), both in the same share.

    Args:
        states: g, unit length. Shape (n, d), float32.
        attended: x. Shape (n, d), float32.
    """
    return normalize(states + normalize(attended))
