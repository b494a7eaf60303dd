"""Training anew on everything, for as many steps as validation found to be best.

What is served should know the latest interactions, which validation and test hold back. There is
nothing left to validate on then: stage, steps, L and β are those of a training that was validated.
"""

import logging
import signal
from collections.abc import Mapping
from pathlib import Path

from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset
from model.encoder import Stage, TrainableEncoder
from model.runtime.interruption import Stopped
from model.runtime.progress import Progress, show_progress
from model.runtime.runtime import Runtime
from model.training.learner import TOTAL, Learner
from model.training.recipe import steps_between_validations
from model.training.training_log import TrainingLog, open_log

logger = logging.getLogger(__name__)


class Refit:
    """A training on all parts of a data set, with an end that is known.

    Where an epoch has grown, because more users can be trained on, stages take as many steps more.

    Args:
        dataset: What to train on.
        config: How.
        steps: Of each stage, in order, in the training that was validated.
        n_users: Users who could be trained on there.
        folder: Where its checkpoints go.
        runtime: Where it runs.
        log_folder: Where curves for TensorBoard go.

    Attributes:
        steps: Of each stage here.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: TrainingConfig,
        *,
        steps: Mapping[Stage, int],
        n_users: int,
        folder: Path,
        runtime: Runtime,
        log_folder: Path,
    ) -> None:
        self._config = config
        self._folder = folder
        self._runtime = runtime
        self._log_folder = log_folder
        self._learner = Learner(dataset, config, dataset.offsets[1:], runtime)
        growth = self._learner.n_users / n_users
        self.steps = {stage: round(count * growth) for stage, count in steps.items()}
        self._save_every = steps_between_validations(config, self._learner.n_users)

    def resume(self) -> None:
        """Go on from the latest checkpoint, where there is one.

        Raises:
            InputError: It was made with other settings.
        """
        if self._learner.load(self._folder) is not None:
            logger.info("resuming %s at step %d", self._title(), self._learner.step)

    def run(self) -> TrainableEncoder:
        """Run what is left of all stages; return the encoder, its weights averaged."""
        stages = list(self.steps)
        while True:
            self._run_stage()
            encoder = self._learner.averaged()
            if self._learner.stage == stages[-1]:
                return encoder
            following = stages[stages.index(self._learner.stage) + 1]
            self._learner.begin_stage(following, dict(encoder.state_dict()))

    def _title(self) -> str:
        return f"{self._learner.stage} stage on everything"

    def _run_stage(self) -> None:
        learner, runtime = self._learner, self._runtime
        end = self.steps[learner.stage]
        logger.info("%s: %d steps", self._title(), end)
        log_folder = self._log_folder / f"{learner.stage}-all" if runtime.processes.leads else None
        with (
            runtime.interruption.deferred(),
            open_log(log_folder, learner.step) as log,
            show_progress(
                self._title(),
                step=learner.step,
                end=end,
                end_is_known=True,
                sequences_per_step=self._config.batch_size,
                shown=runtime.processes.leads,
            ) as progress,
        ):
            while learner.step < end:
                learner.take_step()
                progress.advance()
                if learner.step % self._save_every == 0 or learner.step == end:
                    self._tell_and_save(progress, log)
                if learner.asked_to_stop:
                    learner.save(self._folder, {})
                    raise Stopped(runtime.interruption.requested or signal.SIGTERM)

    def _tell_and_save(self, progress: Progress, log: TrainingLog) -> None:
        learner = self._learner
        learner.refuse_no_number()
        speed = progress.sequences_per_second()
        losses = learner.take_losses()
        left = progress.expect_end(self.steps[learner.stage])
        logger.info(
            "%s, step %d: loss %.4f, %.0f sequences/s, %s left",
            self._title(),
            learner.step,
            losses[TOTAL],
            speed,
            left,
        )
        curves = {f"loss/{name}": loss for name, loss in losses.items()}
        log.write(learner.step, {**curves, "speed/sequences per second": speed})
        learner.save(self._folder, {})
        progress.begin_steps()
