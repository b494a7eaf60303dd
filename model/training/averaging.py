"""A moving average of the weights; its cost per step does not grow with the item table."""

import copy
import math

import torch
from torch import Tensor

from model.encoder import TrainableEncoder

_START = 10  # the average is short at first, so that it does not drag the start of a stage along


class MovingAverage:
    """The average of an encoder's weights over the steps taken, the latest weighing most.

    After step t: average ← δ average + (1 − δ) weights, with δ = min(decay, t / (t + 10)).

    With ``sparse_gradients`` only a few rows of the item table change in a step. While a row rests,
    the distance of its average from it shrinks by the product of the δ since; that is made up for
    when the row changes again, or when the average is asked for.

    Args:
        encoder: Whose weights to average; the average starts with them.
        decay: Per step, from 0 (the weights themselves) to less than 1.
    """

    def __init__(self, encoder: TrainableEncoder, decay: float) -> None:
        self._current = encoder
        # What follows from the data is there once; what checkpoints hold must not be shared.
        kept = encoder.state_dict(keep_vars=True)
        shared = {id(each): each for name, each in encoder.named_buffers() if name not in kept}
        self._average = copy.deepcopy(encoder, shared) if decay else encoder
        self._decay = decay
        self._lazy = encoder.sparse_gradients and decay > 0
        # Sum of log δ until now, and until each row of the table was last brought up to date.
        self._log_decay = 0.0
        self._row_log_decay = torch.zeros(
            len(encoder.item_table) if self._lazy else 0,
            dtype=torch.float64,
            device=encoder.item_table.device,
        )

    @torch.no_grad()
    def before_step(self) -> None:
        """Note the rows that the optimiser is about to change, from their gradient."""
        if self._lazy:
            gradient = self._current.item_table.grad
            if gradient is not None:
                gradient = gradient.coalesce()
                self._current.item_table.grad = gradient  # the optimiser would do it once more
                self._catch_up(gradient.indices()[0])

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Take the weights after a step into the average.

        Args:
            step: Steps taken in this stage, this one included.
        """
        if not self._decay:
            return
        decay = min(self._decay, step / (step + _START))
        averages, current = self._dense(self._average), self._dense(self._current)
        torch._foreach_lerp_(averages, current, 1 - decay)
        # A row that has just changed: it was brought up to date before, and the share of this
        # step follows with the next catching up, for which the row as it is now counts.
        self._log_decay += math.log(decay)

    @torch.no_grad()
    def encoder(self) -> TrainableEncoder:
        """Return the encoder with averaged weights; it is this object's own.

        To ask again before the next step changes nothing, to the last bit.
        """
        if self._lazy:
            self._catch_up((self._row_log_decay != self._log_decay).nonzero()[:, 0])
        return self._average

    def state(self) -> dict[str, Tensor]:
        """Return what ``load_state`` needs to go on, by name."""
        if not self._decay:
            return {}  # the weights themselves
        log_decay = torch.tensor(self._log_decay, dtype=torch.float64)
        return {
            **self._average.state_dict(),
            "log_decay": log_decay,
            "row_log_decay": self._row_log_decay,
        }

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what ``state`` returned."""
        if not self._decay:
            return
        tensors = dict(tensors)
        self._log_decay = float(tensors.pop("log_decay"))
        self._row_log_decay.copy_(tensors.pop("row_log_decay"))
        self._average.load_state_dict(tensors)

    def _catch_up(self, rows: Tensor) -> None:
        """Bring the average of some rows to now; since the last time they have not changed."""
        # index_select copies whole rows: half the time of indexing with brackets.
        resting = self._log_decay - self._row_log_decay.index_select(0, rows)
        table = self._current.item_table.index_select(0, rows)
        average = self._average.item_table.index_select(0, rows)
        average = torch.lerp(table, average, resting.exp().float().unsqueeze(1))
        self._average.item_table.index_copy_(0, rows, average)
        self._row_log_decay.index_fill_(0, rows, self._log_decay)

    def _dense(self, encoder: TrainableEncoder) -> list[Tensor]:
        return [
            value
            for value in encoder.parameters()
            if not (self._lazy and value is encoder.item_table)
        ]
