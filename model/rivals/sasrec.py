"""SASRec: blocks of causal self-attention, whose newest state is the user (arXiv 1808.09781)."""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from model.config.training_config import TrainingConfig
from model.layers.padded import PaddedHistories
from model.layers.transformer import CausalTransformer
from model.rivals.batch import RivalBatch
from model.rivals.single_vector import SingleVectorRival

N_BLOCKS = 2
"""b of the paper (section IV.D)."""
DROPOUT = 0.2
"""Half of the history is dropped already; see ``PAPER_DROPOUT``."""
PAPER_DROPOUT = 0.5
"""On all of the paper's data but the densest, MovieLens-1M: 0.2 (section IV.D)."""


class SasRec(SingleVectorRival):
    """z = the state of the last block at the newest interaction.

    Args:
        dropout: Of the transformer.
        binary: Learn by the paper's loss, a binary cross-entropy with one negative for each
            position (eq. 7), and by nothing else.
        sizes: See ``Rival``.
    """

    name: ClassVar[str] = "sasrec"

    def __init__(self, *, dropout: float = DROPOUT, binary: bool = False, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.binary = binary
        self.transformer = CausalTransformer(
            dim=self.dim, max_len=self.max_len, n_blocks=N_BLOCKS, dropout=dropout
        )

    @classmethod
    def from_config(cls, config: TrainingConfig, **sizes: Any) -> Self:
        """See ``TrainableEncoder.from_config``; the paper's recipe has a loss of its own."""
        if config.recipe == "paper":
            sizes = {**sizes, "dropout": PAPER_DROPOUT, "binary": True}
        return super().from_config(config, **sizes)

    def states(self, histories: PaddedHistories) -> Tensor:
        """See ``SingleVectorRival.states``."""
        states: Tensor = self.transformer(histories.laid_out())
        return states

    def losses_of(self, batch: RivalBatch, config: TrainingConfig) -> dict[str, Tensor]:
        """See ``Rival.losses_of``."""
        if self.binary:
            return {"next_item": self._binary_loss(batch)}
        return super().losses_of(batch, config)

    def _binary_loss(self, batch: RivalBatch) -> Tensor:
        """−log σ(s · e_next) − log(1 − σ(s · e_negative)) at every position (eq. 7).

        After the newest interaction the next item is the user's first positive. Negatives are
        drawn evenly from the catalog; what the user's batch row holds itself does not count.

        Returns:
            The mean over the positions, a scalar.
        """
        states = self._sized(self._states_of(batch.histories)) / self.score_temperature

        lengths = batch.histories.is_item.sum(1)
        history = batch.catalog_rows[batch.rows]
        positives = batch.catalog_rows[batch.positive_rows]
        of_user = torch.bincount(batch.owners, minlength=len(lengths))
        next_items = history.roll(-1)
        next_items[lengths.cumsum(0) - 1] = positives[of_user.cumsum(0) - of_user]

        n_items = len(self.item_table)
        negatives = torch.randint(n_items, history.shape, device=history.device)
        readers = torch.repeat_interleave(lengths)
        own = torch.cat((readers * n_items + history, batch.owners * n_items + positives))
        counts = torch.isin(readers * n_items + negatives, own, invert=True)
        next_scores = (states * self.embed(next_items)).sum(-1)
        negative_scores = (states * self.embed(negatives)).sum(-1)
        losses = functional.softplus(-next_scores) + functional.softplus(negative_scores) * counts
        return losses.mean()

    def own_tensors(self) -> dict[str, Tensor]:
        """See ``Rival.own_tensors``."""
        return self.transformer.tensors()
