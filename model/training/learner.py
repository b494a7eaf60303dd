"""An encoder in training, with all that moves with it from step to step.

It knows nothing of validation or of when to end: ``model.training.training`` and
``model.training.refit`` do.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.arrays import Rows
from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset
from model.encoder import Stage, TrainableEncoder
from model.errors import InputError
from model.runtime.runtime import Runtime
from model.training.averaging import MovingAverage
from model.training.checkpoint import Tensors, has_checkpoint, load_checkpoint, save_checkpoint
from model.training.recipe import new_encoder, new_optimizers, new_sampler

logger = logging.getLogger(__name__)

LATEST = "latest"

TOTAL = "total"

_CHECK_EVERY = {"cpu": 1, "cuda": 50}
"""Steps between looks at the loss; on a GPU a look waits for all that is under way."""


class Learner:
    """An encoder, what draws its batches, and what moves its weights.

    Several processes hold one each, with equal weights; all of them call its methods together.

    Args:
        dataset: What to learn from.
        config: How.
        end: End of what may be known of each user, as an index into ``dataset.items``.
            Shape (n_users,), int64.
        runtime: Where.

    Attributes:
        encoder: The weights as the last step left them.
        stage: Which one is under way.
        step: Steps of this stage so far.
        counted: Steps whose losses ``take_losses`` has not yet returned.
        asked_to_stop: Whether all processes should stop after this step.

    Raises:
        InputError: The data cannot be trained on.
    """

    def __init__(
        self, dataset: Dataset, config: TrainingConfig, end: Rows, runtime: Runtime
    ) -> None:
        self._dataset = dataset
        self._config = config
        self._runtime = runtime
        processes = runtime.processes
        # The first process draws what it would draw alone.
        self._random = np.random.default_rng([config.seed, processes.rank])
        self._sampler = new_sampler(dataset, config, end, processes=processes.size)
        # The others take the leader's start; they need not compute it as well. Neighbours, which
        # no chance has a part in, each finds itself.
        start = config if processes.leads else replace(config, start="random")
        self.encoder = new_encoder(dataset, start, end).to(runtime.device)
        processes.start_alike(self.encoder)
        if config.weight_decay and self.encoder.sparse_gradients:
            logger.warning(
                "--weight-decay does not reach the item vectors of so large a catalog: their "
                "optimiser is row-wise"
            )
        self.stage = self.encoder.stages[0]
        self._restart()

    def _restart(self) -> None:
        """Begin a stage with the weights as they are."""
        self._learned = [value for value in self.encoder.parameters() if value.requires_grad]
        self._optimizers = new_optimizers(self.encoder, self._config, self.stage)
        self._average = MovingAverage(self.encoder, self._config.averaging)
        self.step = 0
        self.counted = 0
        self._names: list[str] = []
        self._sums = torch.zeros(0, dtype=torch.float64)
        self.asked_to_stop = False

    @property
    def n_users(self) -> int:
        """Users who can be trained on."""
        return self._sampler.n_users

    def begin_stage(self, stage: Stage, weights: Tensors) -> None:
        """Begin a stage from an encoder's weights, with new optimisers and a new average."""
        self.encoder.load_state_dict(weights)
        self.stage = stage
        self._restart()

    def averaged(self) -> TrainableEncoder:
        """Return the encoder with averaged weights: what is validated and kept."""
        return self._average.encoder()

    def take_step(self) -> None:
        """Draw a batch and learn from it.

        Raises:
            InputError: The loss is not a finite number any more.
        """
        batch = self._sampler.draw(self._random)
        if self.encoder.draws_at_random:
            # The state of one generator is all that a checkpoint has to keep.
            torch.manual_seed(int(self._random.integers(2**63)))
        losses = self.encoder.losses(batch, self.stage, self._config)
        loss = total_loss(losses)
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._names = [TOTAL, *losses]
        self._count(torch.stack([loss, *losses.values()]).detach())
        self._average.before_step()
        for optimizer in self._optimizers:
            optimizer.step()
        self.step += 1
        self._average.after_step(self.step)
        if self.step % _CHECK_EVERY[self._runtime.device.type] == 0:
            self.refuse_no_number()

    def _count(self, losses: Tensor) -> None:
        """Add up losses; of several processes, average them and the gradients, and agree to stop.

        A signal travels with the gradients, so that all processes know of it after the same step.
        """
        asked = self._runtime.interruption.requested is not None
        if self._runtime.processes.size > 1:
            numbers = torch.cat([losses, losses.new_tensor([float(asked)])])
            numbers = self._runtime.processes.average_gradients(self._learned, numbers)
            losses, asked = numbers[:-1], numbers[-1].item() > 0
        self.asked_to_stop = asked
        self._sums = self._sums + losses if self.counted else losses.double()
        self.counted += 1

    def refuse_no_number(self) -> None:
        """Raise InputError if a loss since the last look was infinite or no number."""
        total = self._sums[0].item()
        if not math.isfinite(total):
            at = "at" if _CHECK_EVERY[self._runtime.device.type] == 1 else "by"
            raise InputError(
                f"the loss is {total} {at} step {self.step} of the {self.stage} stage; "
                "lower --learning-rate or raise --temperature"
            )

    def take_losses(self) -> dict[str, float]:
        """Return the mean of each loss since the last call, and their total under ``TOTAL``."""
        means = (self._sums / self.counted).tolist()
        self.counted = 0
        return dict(zip(self._names, means, strict=True))

    def save(self, folder: Path, state: dict[str, Any]) -> None:
        """Save the checkpoint ``LATEST``, from which ``load`` goes on to the last bit.

        Args:
            folder: Where to.
            state: What to save beside it; what JSON can hold.
        """
        random = self._runtime.processes.gather(self._random.bit_generator.state)
        if not self._runtime.processes.leads:
            return
        tensors = {f"encoder.{name}": value for name, value in self.encoder.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self._average.state().items()}
        for number, optimizer in enumerate(self._optimizers):
            tensors |= {
                f"optimizer.{number}.{name}": value for name, value in _moments(optimizer).items()
            }
        own = {
            "stage": self.stage,
            "step": self.step,
            "counted": self.counted,
            "losses": dict(zip(self._names, self._sums.tolist(), strict=True)),
            "random": random,
            "config": self._config.to_dict(),
            "dataset": self._dataset.summary,
        }
        save_checkpoint(folder, LATEST, tensors, {**state, **own})

    def load(self, folder: Path) -> dict[str, Any] | None:
        """Go on from the checkpoint ``LATEST``; return all of its state, None where there is none.

        Raises:
            InputError: It was made with other settings, other data, or by more or fewer processes.
        """
        if not has_checkpoint(folder, LATEST):
            return None
        tensors, state = load_checkpoint(folder, LATEST)
        self._require_same(folder, state)
        self.encoder.load_state_dict(_unprefixed(tensors, "encoder."))
        self.stage = state["stage"]
        self._restart()
        self._average.load_state(_unprefixed(tensors, "average."))
        for number, optimizer in enumerate(self._optimizers):
            _load_moments(optimizer, _unprefixed(tensors, f"optimizer.{number}."))
        self._random.bit_generator.state = state["random"][self._runtime.processes.rank]
        self.step = state["step"]
        self.counted = state["counted"]
        self._names = list(state["losses"])
        sums = list(state["losses"].values())
        self._sums = torch.tensor(sums, dtype=torch.float64, device=self._runtime.device)
        return state

    def _require_same(self, folder: Path, state: dict[str, Any]) -> None:
        if differences := self._config.differences(state["config"], training_only=True):
            raise InputError(
                f"{folder}: the checkpoint was made with other settings ({differences}); "
                "resume with the same ones, or train into another folder"
            )
        if state["dataset"] != self._dataset.summary:
            raise InputError(f"{folder}: the checkpoint was made with another data set")
        before, now = len(state["random"]), self._runtime.processes.size
        if before != now:
            how = f"with torchrun --nproc-per-node {before}" if before > 1 else "without torchrun"
            raise InputError(
                f"{folder}: the checkpoint was made by {before} process(es), now there are {now}; "
                f"resume {how}, or train into another folder"
            )


def total_loss(losses: Mapping[str, Tensor]) -> Tensor:
    """Sum the losses of a step."""
    return reduce(torch.add, losses.values())


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser keeps of each parameter, by number and name, as tensors."""
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
    }


def _load_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    moments: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        number, name = key.split(".")
        # SparseAdam counts its steps in a plain number.
        plain = name == "step" and isinstance(optimizer, torch.optim.SparseAdam)
        moments.setdefault(int(number), {})[name] = int(value) if plain else value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def _unprefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
