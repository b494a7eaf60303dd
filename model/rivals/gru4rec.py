"""GRU4Rec: a GRU reads the history, and its last state is the user (arXiv 1511.06939).

What is kept of the paper: one layer of gated recurrent units over the interactions in order, whose
state scores every item, trained after each interaction (section 3.1). Other than in the paper, the
input is the item's vector and not its one-hot code, and the same vectors score ("constrained
embedding" of the authors' own program); units have no bias; and the loss is the softmax that all
models here share, not the ranking losses of section 3.1.3: the authors themselves report
cross-entropy ahead of them once it was computed stably (notes of their program, December 2016).
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from model.layers.gru import all_states, gru_tensors
from model.layers.padded import PaddedHistories
from model.rivals.single_vector import SingleVectorRival


class Gru4Rec(SingleVectorRival):
    """z = the last state of a GRU.

    Args:
        sizes: See ``Rival``.
    """

    name: ClassVar[str] = "gru4rec"

    def __init__(self, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.gru = nn.GRU(self.dim, self.dim, bias=False)

    def states(self, histories: PaddedHistories) -> Tensor:
        """See ``SingleVectorRival.states``."""
        return all_states(self.gru, *histories.laid_out().sequences())

    def own_tensors(self) -> dict[str, Tensor]:
        """See ``Rival.own_tensors``."""
        return gru_tensors(self.gru)
