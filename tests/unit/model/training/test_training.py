"""The schedule of both stages: what is kept, when it ends, and going on after a break."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model.config.loss_weights import LossWeights
from model.config.training_config import Recipe, TrainingConfig
from model.data.dataset import Dataset, prepare
from model.encoder import Stage
from model.errors import InputError
from model.opal import OpalEncoder
from model.runtime.interruption import Stopped
from model.runtime.progress import Progress
from model.training import recipe as recipes
from model.training import validation
from model.training.checkpoint import load_checkpoint
from model.training.learner import LATEST
from model.training.recipe import LENGTHS, new_encoder
from model.training.training import Training
from model.training.training_log import TrainingLog
from model.training.validation import evaluate_encoder
from tests.opal import as_opal
from tests.planted import PlantedLog

STAGES = OpalEncoder.stages

SMALL: dict[str, Any] = {
    "k": 3,
    "dim": 8,
    "batch_size": 16,
    "eval_every": 5,
    "patience": 2,
    "max_steps": 20,
    "max_len": 10,
}
CONFIG = TrainingConfig(**SMALL)
NO_OTHER_LOSSES = LossWeights(orthogonality=0, uniformity=0, unique=0)


class Recorded(Training):
    """A training that keeps what happened at each step, and can be interrupted before one."""

    interrupt_at = -1
    steps = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.weights: list[Tensor] = []
        self.at_hand_over: list[dict[str, Tensor]] = []

    def _advance(self, progress: Progress, log: TrainingLog) -> None:
        if self.steps == self.interrupt_at and not self._validation_is_due():
            self.interrupt()
        step = self.learner.step
        super()._advance(progress, log)
        if self.learner.step > step:
            self.steps += 1
            self.weights.append(self.encoder.item_table.detach().clone())

    def interrupt(self) -> None:
        """Die as by SIGKILL: nothing is saved."""
        raise KeyboardInterrupt

    def _begin_stage(self, stage: Stage) -> None:
        for after in (False, True):
            if after:
                super()._begin_stage(stage)
            state = {name: value.clone() for name, value in self.encoder.state_dict().items()}
            self.at_hand_over.append(state)


class Signalled(Recorded):
    """A training that gets SIGTERM while it takes a step."""

    def interrupt(self) -> None:
        self._runtime.interruption.handle(signal.SIGTERM, None)


def kept(folder: Path) -> dict[Stage, tuple[dict[str, Tensor], dict[str, Any]]]:
    return {stage: load_checkpoint(folder, stage) for stage in STAGES}


def test_both_stages_are_validated_and_kept(dataset: Dataset, tmp_path: Path) -> None:
    training = Training(dataset, CONFIG, tmp_path)
    training.run()

    assert [point["stage"] for point in training.curve] == sorted(
        (point["stage"] for point in training.curve), reverse=True
    )
    for stage, (tensors, state) in kept(tmp_path).items():
        points = [point for point in training.curve if point["stage"] == stage]
        recall_at = {point["step"]: point["valid_recall@50"] for point in points}
        assert recall_at[state["step"]] == max(recall_at.values())
        assert state["metrics"]["recall@50"] == recall_at[state["step"]]
        encoder = new_encoder(dataset, CONFIG, dataset.train_end)
        encoder.load_state_dict(tensors)
        assert evaluate_encoder(encoder, dataset.valid, stage, 10) == state["metrics"]
        assert training.load_best(stage) == state["step"]
        assert torch.equal(training.encoder.item_table, tensors["item_table"])


def test_where_all_items_are_within_50_their_order_decides(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, _ = PlantedLog(n_users=40, n_categories=3, items_per_category=9, length=12).write(tmp_path)
    prepare(log, tmp_path / "data")
    dataset = Dataset.open(tmp_path / "data")
    config = replace(CONFIG, patience=3, max_len=None, learning_rate=5e-3)
    training = Training(dataset, config, tmp_path)
    with caplog.at_level("INFO"):
        training.run()

    for stage, (_, state) in kept(tmp_path).items():
        assert {point["valid_recall@50"] for point in training.curve} == {1.0}
        training.load_best(stage)
        found = training.chooser.choose(training.encoder, stage)[0].max_len
        of_length = {
            length: evaluate_encoder(training.encoder, dataset.valid, stage, length)["ndcg@50"]
            for length in LENGTHS
        }
        assert of_length[found] == max(of_length.values())
        assert state["metrics"]["ndcg@50"] < 1
    gained = [record.getMessage() for record in caplog.records if "(best)" in record.getMessage()]
    assert len(gained) > len(STAGES), "the first validation of each is the best if none is better"


@pytest.mark.parametrize(("general", "learning_rate"), [(0.0, 0.3), (0.3, 2.0)])
def test_the_hard_stage_starts_from_the_best_of_the_soft_one(
    dataset: Dataset, tmp_path: Path, general: float, learning_rate: float
) -> None:
    # Steps this large end a stage anywhere but at its best; the general interest bears more.
    config = replace(CONFIG, learning_rate=learning_rate, averaging=0.0, general=general)
    training = Recorded(dataset, config, tmp_path)
    training.run()
    best, state = kept(tmp_path)["soft"]
    before, after = training.at_hand_over

    assert state["step"] < [p["step"] for p in training.curve if p["stage"] == "soft"][-1]
    assert all(torch.equal(after[name], best[name]) for name in best)
    assert not torch.equal(before["item_table"], best["item_table"])


def test_a_stage_ends_when_patience_is_spent(dataset: Dataset, tmp_path: Path) -> None:
    # Nothing moves, so that the first validation stays the best.
    training = Training(
        dataset,
        replace(CONFIG, learning_rate=1e-30, max_steps=1000, eval_every=3, patience=4),
        tmp_path,
    )
    training.run()

    for stage in STAGES:
        steps = [point["step"] for point in training.curve if point["stage"] == stage]
        assert steps == [3, 6, 9, 12, 15]
        assert kept(tmp_path)[stage][1]["step"] == 3


def test_a_stage_ends_at_its_last_step_and_is_validated_there(
    dataset: Dataset, tmp_path: Path
) -> None:
    config = replace(
        CONFIG, learning_rate=1e-30, max_steps=7, patience=9, loss_weights=NO_OTHER_LOSSES
    )
    training = Training(dataset, config, tmp_path)
    training.run()
    first, last = (point for point in training.curve if point["stage"] == "soft")

    assert (first["step"], last["step"]) == (5, 7)
    assert last["loss"] == pytest.approx(first["loss"], rel=0.2), "a mean over its own steps"


@pytest.mark.parametrize("averaging", [0.0, 0.5, 0.99])
def test_what_is_kept_is_the_moving_average_of_the_weights(
    dataset: Dataset, tmp_path: Path, averaging: float
) -> None:
    training = Recorded(dataset, replace(CONFIG, averaging=averaging), tmp_path)
    average = training.encoder.item_table.detach().clone()
    training.run()
    best, state = kept(tmp_path)["soft"]

    for step, weights in enumerate(training.weights[: state["step"]], start=1):
        decay = min(averaging, step / (step + 10))
        average = decay * average + (1 - decay) * weights
    torch.testing.assert_close(best["item_table"], average)


def assert_same_outcome(one: Path, other: Path) -> None:
    """Assert that two folders hold checkpoints that are equal to the last bit."""
    for name in (*STAGES, LATEST):
        mine, my_state = load_checkpoint(one, name)
        theirs, their_state = load_checkpoint(other, name)
        assert {**my_state, "tensors": ""} == {**their_state, "tensors": ""}
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[tensor], theirs[tensor]) for tensor in mine)


@pytest.fixture(params=["dense", "sparse", "paper", "attention"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What differs in the state that a step leaves: sparse item table, no moving average."""
    if request.param == "sparse":
        monkeypatch.setattr(recipes, "DENSE_ITEMS", 10)
    return str(request.param)


# A soft stage has 20 steps here, validated at 5, 10 …; 12 lies between two, 20 is its end.
@pytest.mark.parametrize(
    ("how", "interrupt_at"),
    [
        *[(Recorded, step) for step in (3, 5, 12, 20, 27)],
        *[(Signalled, step) for step in (0, 4, 12, 19, 27)],
    ],
)
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(
    dataset: Dataset, tmp_path: Path, how: type[Recorded], interrupt_at: int, kind: str
) -> None:
    recipe: Recipe = "paper" if kind == "paper" else "default"
    given = {**SMALL, "patience": 9, "attention": kind == "attention"}
    if kind in ("attention", "sparse"):
        given |= {"neighbours": 1.0, "cut_draws": 2}
    config = TrainingConfig.for_recipe(recipe, given)
    undisturbed = Training(dataset, config, tmp_path / "undisturbed")
    assert undisturbed.encoder.sparse_gradients == (kind == "sparse")
    undisturbed.run()

    interrupted = how(dataset, config, tmp_path / "interrupted")
    interrupted.interrupt_at = interrupt_at
    with pytest.raises((KeyboardInterrupt, Stopped)):
        interrupted.run()
    resumed = Training(dataset, config, tmp_path / "interrupted")
    resumed.resume()
    if how is Signalled:
        assert resumed.learner.step == interrupt_at % 20 + 1, "not one step is lost"
    resumed.run()

    assert resumed.curve == undisturbed.curve
    assert_same_outcome(tmp_path / "interrupted", tmp_path / "undisturbed")


def test_a_training_stopped_in_a_validation_begins_with_it_again(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # Steps so large that weights and average lie far apart: rounding would show.
    config = replace(CONFIG, learning_rate=1.0, averaging=0.99)
    undisturbed = Training(dataset, config, tmp_path / "undisturbed")
    undisturbed.run()

    stopped = Training(dataset, config, tmp_path / "stopped")
    with monkeypatch.context() as patched:
        interruption = stopped._runtime.interruption
        patched.setattr(
            validation, "evaluate_scores", lambda *_: interruption.handle(signal.SIGTERM, None)
        )
        with pytest.raises(Stopped):
            stopped.run()
    resumed = Training(dataset, config, tmp_path / "stopped")
    resumed.resume()
    assert (resumed.learner.step, resumed.learner.counted, resumed.curve) == (5, 5, [])
    resumed.run()

    assert resumed.curve == undisturbed.curve
    assert_same_outcome(tmp_path / "stopped", tmp_path / "undisturbed")


def test_patience_that_is_spent_stays_spent_over_an_interruption(
    dataset: Dataset, tmp_path: Path
) -> None:
    # Nothing moves, so that the first validation stays the best.
    config = replace(CONFIG, learning_rate=1e-30, max_steps=1000, eval_every=3, patience=4)
    interrupted = Recorded(dataset, config, tmp_path)
    interrupted.interrupt_at = 10
    with pytest.raises(KeyboardInterrupt):
        interrupted.run()
    resumed = Training(dataset, config, tmp_path)
    resumed.resume()
    resumed.run()

    assert [point["step"] for point in resumed.curve] == [3, 6, 9, 12, 15] * 2
    assert [state["step"] for _, state in kept(tmp_path).values()] == [3, 3]


def test_the_seed_alone_makes_the_difference(dataset: Dataset, tmp_path: Path) -> None:
    curves = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        training = Training(dataset, replace(CONFIG, seed=seed), tmp_path / name)
        training.run()
        curves.append([point["loss"] for point in training.curve])

    assert curves[0] == curves[1]
    assert curves[0] != curves[2]


def test_other_settings_do_not_resume(dataset: Dataset, tmp_path: Path) -> None:
    Training(dataset, CONFIG, tmp_path).run()

    with pytest.raises(InputError, match="the checkpoint was made with other settings"):
        Training(dataset, replace(CONFIG, patience=3), tmp_path).resume()


def test_other_data_do_not_resume(dataset: Dataset, tmp_path: Path) -> None:
    Training(dataset, CONFIG, tmp_path).run()
    other = replace(dataset, summary={**dataset.summary, "created": "later"})

    with pytest.raises(InputError, match="the checkpoint was made with another data set"):
        Training(other, CONFIG, tmp_path).resume()


def test_a_loss_that_is_no_number_stops_the_training_at_its_step(
    dataset: Dataset, tmp_path: Path
) -> None:
    training = Training(dataset, replace(CONFIG, temperature=1e-39), tmp_path)

    with pytest.raises(InputError, match=r"the loss is nan at step 1 of the soft stage; lower"):
        training.run()
    assert not list(tmp_path.iterdir()), "what is no number is not kept"


def test_a_loss_that_becomes_no_number_later_stops_the_training_there(
    dataset: Dataset, tmp_path: Path
) -> None:
    class Spoilt(Recorded):
        def interrupt(self) -> None:
            torch.nn.init.constant_(as_opal(self.encoder).hyper_table, torch.nan)

    training = Spoilt(dataset, CONFIG, tmp_path)
    training.interrupt_at = 7

    with pytest.raises(InputError, match="the loss is nan at step 8 of the soft stage"):
        training.run()
    assert load_checkpoint(tmp_path, LATEST)[1]["step"] == 5


def test_a_collapse_stops_the_training_and_names_the_step(dataset: Dataset, tmp_path: Path) -> None:
    class Collapsing(Recorded):
        def interrupt(self) -> None:
            encoder = as_opal(self.encoder)
            with torch.no_grad():
                encoder.hyper_table[:] = encoder.item_embeddings().mean(0)
                encoder.hyper_table[1:] *= -1

    training = Collapsing(dataset, replace(CONFIG, learning_rate=1e-30, averaging=0.0), tmp_path)
    training.interrupt_at = 7

    with pytest.raises(
        InputError, match=r"collapsed by step 10 of the soft stage: one holds \d+\.\d% of the int"
    ):
        training.run()


def test_a_log_without_validation_targets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id\nu,a\nu,b\nu,c\n")
    prepare(tmp_path / "log.csv", tmp_path / "data")

    with pytest.raises(InputError, match="no user has a validation target"):
        Training(Dataset.open(tmp_path / "data"), CONFIG, tmp_path / "run")
