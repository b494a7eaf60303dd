"""Training in stages, each until validation gains no more (arXiv 2407.14741: schedule).

A stage ends when validation Recall@50 has not risen for ``patience`` validations; the next one
starts from its best weights. OPAL has two: stage 1 pre-trains soft interests, stage 2 fine-tunes
with hard ones. The best of each stage is kept: "OPAL (soft)" is a result of its own.

What is validated and kept is a moving average of the weights: single steps of Adam scatter around
it, by ± 0.01 in Recall@50 on MovieLens 100K, and early stopping would pick among the scatter.

Every validation writes a checkpoint from which ``resume`` goes on, and so does a signal that asks
to stop, after any step. On a CPU what follows is what would have come undisturbed, to the last bit.
"""

import logging
import signal
from pathlib import Path
from typing import Any

from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset
from model.encoder import Stage, TrainableEncoder
from model.errors import InputError
from model.evaluation import Metrics
from model.runtime.interruption import Stopped
from model.runtime.progress import Progress, show_progress
from model.runtime.runtime import Runtime
from model.training.checkpoint import load_checkpoint, save_checkpoint
from model.training.learner import TOTAL, Learner
from model.training.recipe import steps_between_validations, training_length
from model.training.serving_choices import Chooser
from model.training.training_log import TrainingLog, open_log
from model.training.validation import SELECT_BY, evaluate_encoder, hyper_category_shares, merit

VALIDATION_USERS = 4096
"""Users that decide when a stage ends, and on L; all of them decide on β and the stage."""

COLLAPSED_SHARE = 0.99

_NONE_YET = (-1.0, -1.0)  # less than any merit

logger = logging.getLogger(__name__)


class Training:
    """A training under way: what it has learned, and where it stands.

    Several processes hold one each (see ``model.runtime.parallel``) and call its methods together;
    the leader validates, saves and tells.

    Args:
        dataset: What to train on.
        config: How.
        folder: Where checkpoints go.
        runtime: Where it runs.
        log_folder: Where curves for TensorBoard go; None: nowhere.

    Attributes:
        curve: A point for each validation: stage, step, loss, Recall@50.
        chooser: Chooses how a stage's best weights are to be served.

    Raises:
        InputError: The data cannot be trained on.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: TrainingConfig,
        folder: Path,
        runtime: Runtime | None = None,
        *,
        log_folder: Path | None = None,
    ) -> None:
        self._config = config
        self._folder = folder
        self._runtime = runtime or Runtime()
        self._log_folder = log_folder if self._runtime.processes.leads else None
        if not dataset.valid.histories:
            raise InputError(
                f"{dataset.path}: no user has a validation target; training cannot be stopped "
                "at its best (the split 'user' needs users with 5 interactions, 'last' with 3, "
                "and a part of them that holds items new to the user)"
            )
        self._interactions = dataset.catalog["interactions"].to_numpy()
        self._validation = dataset.valid.sample(VALIDATION_USERS)
        self.chooser = Chooser(config, dataset.valid, self._validation, self._interactions)
        self.learner = Learner(dataset, config, dataset.train_end, self._runtime)
        self._eval_every = steps_between_validations(config, self.learner.n_users)
        self._best = _NONE_YET
        self._rounds_without_gain = 0
        self.curve: list[dict[str, Any]] = []

    @property
    def encoder(self) -> TrainableEncoder:
        """The encoder in training, or what ``load_best`` has loaded into it."""
        return self.learner.encoder

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The model's stages, in order."""
        return self.encoder.stages

    def run(self) -> None:
        """Run what is left of all stages."""
        while True:
            self._run_stage()
            stage = self.learner.stage
            if stage == self.stages[-1]:
                return
            self._begin_stage(self.stages[self.stages.index(stage) + 1])

    def load_best(self, stage: Stage) -> int:
        """Load a stage's best weights into the encoder; return the step they are from."""
        tensors, state = load_checkpoint(self._folder, stage)
        self.encoder.load_state_dict(tensors)
        return int(state["step"])

    def resume(self) -> None:
        """Go on from the latest checkpoint, where there is one.

        Raises:
            InputError: It was made with other settings.
        """
        state = self.learner.load(self._folder)
        if state is None:
            return
        self._best = tuple(state["best"])
        self._rounds_without_gain = state["rounds_without_gain"]
        self.curve = state["curve"]
        logger.info("resuming %s stage at step %d", self.learner.stage, self.learner.step)

    def _begin_stage(self, stage: Stage) -> None:
        weights, _ = load_checkpoint(self._folder, self.learner.stage)
        self.learner.begin_stage(stage, weights)
        self._best, self._rounds_without_gain = _NONE_YET, 0

    def _run_stage(self) -> None:
        learner, runtime = self.learner, self._runtime
        logger.info("%s stage: %d sequences per step", learner.stage, self._config.batch_size)
        log_folder = self._log_folder / learner.stage if self._log_folder else None
        with (
            runtime.interruption.deferred(),
            open_log(log_folder, learner.step) as log,
            show_progress(
                f"{learner.stage} stage",
                step=learner.step,
                end=self._earliest_end(),
                end_is_known=False,
                sequences_per_step=self._config.batch_size,
                shown=runtime.processes.leads,
            ) as progress,
        ):
            try:
                while not self._is_over():
                    self._advance(progress, log)
            except Stopped:
                self._save_latest()
                logger.info("saved at step %d of the %s stage", learner.step, learner.stage)
                raise

    def _advance(self, progress: Progress, log: TrainingLog) -> None:
        """Take a step, or validate where that is due."""
        if self._validation_is_due():
            self._validate(progress, log)
            progress.begin_steps()
            return
        self.learner.take_step()
        progress.advance()
        if self.learner.asked_to_stop:
            raise Stopped(self._runtime.interruption.requested or signal.SIGTERM)

    def _validation_is_due(self) -> bool:
        step = self.learner.step
        at_step = step % self._eval_every == 0 or step == self._config.max_steps
        return at_step and self.learner.counted > 0

    def _is_over(self) -> bool:
        return self.learner.counted == 0 and self.learner.step >= self._earliest_end()

    def _earliest_end(self) -> int:
        """The step at which the stage ends unless a validation gains before."""
        rounds = self.learner.step // self._eval_every
        patient = self._config.patience - self._rounds_without_gain
        return min(self._config.max_steps, (rounds + patient) * self._eval_every)

    def _validate(self, progress: Progress, log: TrainingLog) -> None:
        learner = self.learner
        learner.refuse_no_number()
        speed = progress.sequences_per_second()
        metrics, shares = self._runtime.lead(self._measure)
        losses = learner.take_losses()
        value = metrics[SELECT_BY]
        gained = merit(metrics) > self._best
        self._best = max(merit(metrics), self._best)
        self._rounds_without_gain = 0 if gained else self._rounds_without_gain + 1
        point = {"stage": learner.stage, "step": learner.step, "loss": losses[TOTAL]}
        self.curve.append({**point, f"valid_{SELECT_BY}": value})
        left = progress.expect_end(self._earliest_end(), f"best {SELECT_BY} {self._best[0]:.4f}")
        logger.info(
            "%s stage, step %d: loss %.4f, valid %s %.4f%s, %.0f sequences/s, %s",
            learner.stage,
            learner.step,
            losses[TOTAL],
            SELECT_BY,
            value,
            " (best)" if gained else "",
            speed,
            "ends here" if self._is_over() else f"at least {left} left",
        )
        if not self._runtime.processes.leads:
            self._save_latest()
            return
        encoder = learner.averaged()
        log.write(
            learner.step,
            {
                **{f"loss/{name}": loss for name, loss in losses.items()},
                **{f"valid/{name}": metric for name, metric in metrics.items()},
                **{f"learned/{name}": term for name, term in encoder.learned_terms().items()},
                **{f"share/hyper-category {j}": share for j, share in enumerate(shares)},
                "speed/sequences per second": speed,
            },
        )
        if gained:
            save_checkpoint(
                self._folder,
                learner.stage,
                dict(encoder.state_dict()),
                {"stage": learner.stage, "step": learner.step, "metrics": metrics},
            )
        self._save_latest()

    def _measure(self) -> tuple[Metrics, list[float]]:
        """Validate the averaged weights; return metrics and each hyper-category's share."""
        encoder = self.learner.averaged()
        shares = hyper_category_shares(encoder, self._interactions)
        # With one hyper-category, or too few items for each to have one, nothing has collapsed.
        could_differ = 1 < len(shares) < len(self._interactions)
        if could_differ and max(shares) > COLLAPSED_SHARE:
            raise InputError(
                f"the hyper-categories collapsed by step {self.learner.step} of the "
                f"{self.learner.stage} stage: one holds {max(shares):.1%} of the interactions; "
                "lower --learning-rate or --k"
            )
        length = training_length(self._config)
        metrics = evaluate_encoder(encoder, self._validation, self.learner.stage, length)
        return metrics, shares

    def _save_latest(self) -> None:
        state = {
            "best": self._best,
            "rounds_without_gain": self._rounds_without_gain,
            "curve": self.curve,
        }
        self.learner.save(self._folder, state)
