"""Steps, the losses counted over them, and what has to be equal to go on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model import opal
from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset
from model.encoder import Stage
from model.errors import InputError
from model.layers import next_item
from model.model_names import SINGLE_VECTOR_RIVALS
from model.runtime.parallel import Processes
from model.runtime.runtime import Runtime
from model.training import recipe
from model.training.learner import TOTAL, Learner
from model.training.recipe import new_sampler

CONFIG = TrainingConfig(k=3, dim=8, batch_size=16, max_len=10)


def learner_of(dataset: Dataset, *, stage: Stage = "soft") -> Learner:
    learner = Learner(dataset, CONFIG, dataset.train_end, Runtime())
    learner.stage = stage
    return learner


@pytest.mark.parametrize("stage", ["soft", "hard"])
def test_losses_are_means_since_they_were_last_taken(dataset: Dataset, stage: Stage) -> None:
    one_by_one, together = learner_of(dataset, stage=stage), learner_of(dataset, stage=stage)
    taken = []
    for _ in range(5):
        one_by_one.take_step()
        taken.append(one_by_one.take_losses())
        together.take_step()
        if together.step == 2:
            together.take_losses()
    means = together.take_losses()

    names = {TOTAL, "future_item", "orthogonality", "uniformity", "next_item"}
    assert set(means) == (names if stage == "soft" else names | {"unique"})
    for name, mean in means.items():
        assert mean == pytest.approx(sum(losses[name] for losses in taken[2:]) / 3)
    assert means[TOTAL] == pytest.approx(
        sum(mean for name, mean in means.items() if name != TOTAL), rel=1e-5
    )


def test_a_checkpoint_of_several_processes_is_not_for_one(dataset: Dataset, tmp_path: Path) -> None:
    class Two(Processes):
        def gather(self, value: Any) -> list[Any]:
            return [value, value]

    learner = Learner(dataset, CONFIG, dataset.train_end, Runtime(processes=Two()))
    learner.save(tmp_path, {})

    with pytest.raises(
        InputError,
        match=r"made by 2 process\(es\), now there are 1; resume with torchrun --nproc-per-node 2",
    ):
        learner_of(dataset).load(tmp_path)


def test_a_batch_that_cannot_be_shared_is_refused(dataset: Dataset) -> None:
    runtime = Runtime(processes=Processes(0, 3))

    with pytest.raises(InputError, match="--batch-size is 16; expected a multiple of the 3 proc"):
        Learner(dataset, CONFIG, dataset.train_end, runtime)


def test_the_other_processes_draw_other_batches(dataset: Dataset) -> None:
    first, second = (
        Learner(dataset, CONFIG, dataset.train_end, Runtime(processes=Processes(rank)))
        for rank in (0, 1)
    )
    second.encoder.load_state_dict(first.encoder.state_dict())
    for learner in (first, second):
        learner.take_step()

    assert first.take_losses() != second.take_losses()


@pytest.mark.parametrize("stage", ["soft", "hard"])
def test_products_in_half_precision_leave_losses_and_weights_single(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    # As on a GPU, which is not here.
    full, half = learner_of(dataset, stage=stage), learner_of(dataset, stage=stage)
    full.take_step()
    monkeypatch.setattr(
        opal, "mixed_precision", lambda _: torch.autocast("cpu", dtype=torch.bfloat16)
    )
    half.take_step()
    losses, exact = half.take_losses(), full.take_losses()

    assert losses != exact
    assert losses == pytest.approx(exact, rel=0.02, abs=0.01)
    assert {value.dtype for value in half.encoder.parameters()} == {torch.float32}


def test_a_step_back_in_the_settings_is_named(dataset: Dataset, tmp_path: Path) -> None:
    learner_of(dataset).save(tmp_path, {})
    other = Learner(dataset, replace(CONFIG, seed=5), dataset.train_end, Runtime())

    with pytest.raises(InputError, match=r"other settings \(--seed is 5, was 0\)"):
        other.load(tmp_path)


@pytest.mark.parametrize("n_dense", [0, 1000])
def test_weight_decay_that_does_not_reach_the_items_is_told_once(
    dataset: Dataset,
    n_dense: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(recipe, "DENSE_ITEMS", n_dense)
    config = replace(CONFIG, weight_decay=0.1)
    learner = Learner(dataset, config, dataset.train_end, Runtime())
    learner.begin_stage("hard", dict(learner.averaged().state_dict()))

    assert caplog.text.count("--weight-decay does not reach the item vectors") == (n_dense == 0)


@pytest.mark.parametrize("model", ["opal", "cmi", "dssrec", "gru4rec", "sasrec"])
def test_what_losses_draw_goes_on_from_a_checkpoint(
    dataset: Dataset, tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_item, "POSITIONS_PER_USER", 1)  # so that some are drawn of these few
    k: dict[str, Any] = {} if model in SINGLE_VECTOR_RIVALS else {"k": 3}
    config = TrainingConfig(model=model, dim=8, batch_size=16, max_len=10, history_dropout=0.0, **k)
    learner = Learner(dataset, config, dataset.train_end, Runtime())
    learner.take_step()
    learner.save(tmp_path, {})
    learner.take_step()
    resumed = Learner(dataset, config, dataset.train_end, Runtime())
    resumed.load(tmp_path)
    torch.manual_seed(7)  # whatever else was drawn in the meantime
    resumed.take_step()

    weights, others = (each.encoder.state_dict() for each in (learner, resumed))
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert learner.take_losses() == resumed.take_losses()


def test_a_model_whose_losses_draw_nothing_costs_the_generator_nothing(dataset: Dataset) -> None:
    config = replace(CONFIG, general=0.0)
    learner = Learner(dataset, config, dataset.train_end, Runtime())
    learner.take_step()

    random = np.random.default_rng([CONFIG.seed, 0])
    new_sampler(dataset, config, dataset.train_end).draw(random)
    assert learner._random.bit_generator.state == random.bit_generator.state


def test_validation_between_steps_changes_nothing_and_dropout_goes_on(dataset: Dataset) -> None:
    config = replace(CONFIG, attention=True, averaging=0.0)
    straight, validated = (Learner(dataset, config, dataset.train_end, Runtime()) for _ in range(2))
    histories = torch.from_numpy(dataset.valid.histories[0][-5:])[None]
    for _ in range(4):
        straight.take_step()
        validated.take_step()
        served = [validated.averaged().interests(histories, "soft") for _ in range(2)]
        assert torch.equal(*served), "what is served drops nothing"
    mine, theirs = (each.encoder.state_dict() for each in (straight, validated))
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)

    batch = new_sampler(dataset, config, dataset.train_end).draw(np.random.default_rng(0))
    first, second = (
        validated.encoder.losses(batch, "soft", config)["future_item"] for _ in range(2)
    )
    assert first != second, "what is trained drops something"
