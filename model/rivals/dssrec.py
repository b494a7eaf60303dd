"""DSSRec: intentions of a sequence, taught by those of its future (Ma et al., KDD 2020).

"Disentangled Self-Supervision in Sequential Recommenders". A SASRec-like encoder gives a state at
each interaction; k prototypes share the states out, attention weighs them, and k vectors come of
it. Beside the next items they predict, in the space of these vectors, what the user's future makes
of the same intention (sequence to sequence). What the paper leaves open follows a public program
(github.com/abis330/DSSRec).
"""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config.training_config import TrainingConfig
from model.layers.padded import PaddedHistories, pad
from model.layers.transformer import CausalTransformer
from model.rivals.batch import RivalBatch
from model.rivals.rival import Rival
from model.rivals.single_vector import newest
from model.runtime.device import mixed_precision

N_BLOCKS = 2
DROPOUT = 0.2
"""As ``model.rivals.sasrec``."""
PAPER_DROPOUT = 0.5
TOLD_APART = 1024
"""Intentions of a batch, all those of its first users, that are told from each other: the cost of
it grows with the square. As many as in a batch of the public program."""
CONFIDENT_SHARE = 0.5
"""λ: of all pairs of a user and an intention, the share that is kept, of the smallest loss."""


class DssRec(Rival):
    """φ_j = LayerNorm(β_j + Σ_t p(j|t) p(t) s_t), s the transformer's states (section 3.3).

    Args:
        dropout: Of the transformer.
        next_item_only: The paper's sequence-to-item loss, which predicts one item; else all
            positives of a batch.
        sizes: See ``Rival``.
    """

    name: ClassVar[str] = "dssrec"
    draws_at_random = True

    def __init__(
        self, *, dropout: float = DROPOUT, next_item_only: bool = False, **sizes: Any
    ) -> None:
        super().__init__(**sizes)
        dim, k = self.dim, self.n_interests
        self.next_item_only = next_item_only
        self.transformer = CausalTransformer(
            dim=dim, max_len=self.max_len, n_blocks=N_BLOCKS, dropout=dropout
        )
        self.prototypes = nn.Parameter(torch.randn(k, dim) * dim**-0.5)
        self.state_norm = nn.LayerNorm(dim)
        self.prototype_norm = nn.LayerNorm(dim)
        self.weight_positions = nn.Parameter(torch.zeros(self.max_len, dim))
        self.key_norm = nn.LayerNorm(dim)
        self.key = nn.Linear(dim, dim)
        self.query_bias = nn.Parameter(torch.zeros(dim))
        self.query_norm = nn.LayerNorm(dim)
        self.history_bias = nn.Parameter(torch.randn(k, dim) * dim**-0.5)
        self.future_bias = nn.Parameter(torch.randn(k, dim) * dim**-0.5)
        self.intention_norm = nn.LayerNorm(dim)

    @classmethod
    def from_config(cls, config: TrainingConfig, **sizes: Any) -> Self:
        """See ``TrainableEncoder.from_config``."""
        if config.recipe == "paper":
            sizes = {**sizes, "dropout": PAPER_DROPOUT, "next_item_only": True}
        return super().from_config(config, **sizes)

    def encode(self, histories: PaddedHistories) -> Tensor:
        """See ``Rival.encode``."""
        return self._intentions(
            histories, self.transformer(histories.laid_out()), self.history_bias
        )

    def _intentions(self, histories: PaddedHistories, states: Tensor, bias: Tensor) -> Tensor:
        """φ of histories, or of futures, which have a β of their own. Shape (batch, k, d).

        Args:
            histories: None of them empty.
            states: What the transformer makes of them. Shape (n_interactions, d).
            bias: β. Shape (k, d), float32.
        """
        is_item, ages = histories.is_item, histories.ages
        scale = self.dim**-0.5
        likeness = self.state_norm(states) @ self.prototype_norm(self.prototypes).T
        clusters = (likeness.float() * scale).softmax(1)  # p(j|t)

        ages = ages[is_item].clamp(max=len(self.weight_positions) - 1)
        keys = self.key_norm(states + functional.embedding(ages, self.weight_positions))
        keys = keys + functional.relu(self.key(keys))
        last = newest(states, is_item)
        queries = self.query_norm(last + self.weight_positions[0] + self.query_bias)
        owners = torch.repeat_interleave(is_item.sum(1))
        scores = (keys * queries.index_select(0, owners)).sum(1).float() * scale
        logits = scores.new_full(is_item.shape, -torch.inf).masked_scatter(is_item, scores)
        attention = logits.softmax(1)[is_item]  # p(t)

        weights = _padded((clusters * attention.unsqueeze(1)).to(states.dtype), is_item)
        sums = weights.transpose(1, 2) @ _padded(states, is_item)
        result: Tensor = self.intention_norm(sums + bias)
        return result

    def losses_of(self, batch: RivalBatch, config: TrainingConfig) -> dict[str, Tensor]:
        """See ``Rival.losses_of``; states predict the next items too, with the default recipe."""
        told_apart = max(1, TOLD_APART // self.n_interests)
        with mixed_precision(self.item_table.device):
            states: Tensor = self.transformer(batch.histories.laid_out())
            history = self._intentions(batch.histories, states, self.history_bias).float()
            ahead = futures(batch, told_apart, self.max_len)
            of_future = self.transformer(ahead.laid_out())
            future = self._intentions(ahead, of_future, self.future_bias).float()
        predicted = next_only(batch) if self.next_item_only else batch
        return {
            "prediction": self.best_interest_loss(predicted, self._sized(history)),
            "sequence": sequence_loss(history[:told_apart], future),
            **self.next_item_losses(batch, states.float(), config),
        }

    def own_tensors(self) -> dict[str, Tensor]:
        """See ``Rival.own_tensors``."""
        weights = self.state_dict()
        return {
            **self.transformer.tensors(),
            **{name: weights[name] for name in weights if name.startswith(_SERVED)},
        }


_SERVED = (
    "prototypes",
    "state_norm",
    "prototype_norm",
    "weight_positions",
    "key",
    "query",
    "history_bias",
    "intention_norm",
)
"""What serving needs besides the transformer; the futures' β is for training alone."""


def sequence_loss(history: Tensor, future: Tensor) -> Tensor:
    """Each intention of a history is told the same one of its future (section 3.4).

    −log softmax of φ_uj · φ'_uj / √d among all users' and intentions' φ', over those pairs (u, j)
    whose loss is among the smallest: the others are not to be predicted (``CONFIDENT_SHARE``).

    Args:
        history: φ. Shape (B, k, d), float32.
        future: φ'. Shape (B, k, d), float32.

    Returns:
        The mean, a scalar.
    """
    first, second = history.flatten(0, 1), future.flatten(0, 1)
    logits = first @ second.T * first.shape[1] ** -0.5
    own = torch.arange(len(first), device=first.device)
    losses = functional.cross_entropy(logits, own, reduction="none")
    n_confident = max(1, int(CONFIDENT_SHARE * len(losses)))
    confident: Tensor = losses.topk(n_confident, largest=False).values
    return confident.mean()


def futures(batch: RivalBatch, n_users: int, max_len: int) -> PaddedHistories:
    """Lay out what comes after each history, backwards: the very next item is the newest.

    Args:
        batch: Its positives are the future.
        n_users: Of the first of these users at most.
        max_len: Items at most, the next ones.
    """
    counts = torch.bincount(batch.owners, minlength=len(batch.histories.is_item))
    lengths = counts[:n_users].clamp(max=max_len)
    starts = counts.cumsum(0) - counts
    users = torch.repeat_interleave(lengths)
    after = lengths.cumsum(0)[users] - torch.arange(len(users), device=users.device)
    ages = after - 1  # of the last item in line 0, as of the very next one
    return pad(batch.positives, starts[users] + ages, lengths, ages)


def next_only(batch: RivalBatch) -> RivalBatch:
    """Leave each user the first positive alone."""
    counts = torch.bincount(batch.owners, minlength=len(batch.histories.is_item))
    first = counts.cumsum(0) - counts
    return batch._replace(
        positives=batch.positives[first],
        owners=batch.owners[first],
        positive_rows=batch.positive_rows[first],
    )


def _padded(rows: Tensor, is_item: Tensor) -> Tensor:
    """Lay rows of shape (n, m) out in histories, 0 where there is none. (batch, length, m)."""
    places = is_item.flatten().nonzero()[:, 0]
    padded = rows.new_zeros(is_item.numel(), rows.shape[1]).index_copy(0, places, rows)
    return padded.view(*is_item.shape, -1)
