"""Training on everything: what it sees, how long it goes on, and going on after a break."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset
from model.encoder import Stage
from model.runtime.runtime import Runtime
from model.training.learner import Learner
from model.training.refit import Refit

CONFIG = TrainingConfig(k=3, dim=8, batch_size=16, max_len=10, eval_every=5, attention=True)
STEPS: dict[Stage, int] = {"soft": 12, "hard": 8}


def refit_of(dataset: Dataset, folder: Path, **options: Any) -> Refit:
    values: dict[str, Any] = {"steps": STEPS, "n_users": dataset.n_users, **options}
    return Refit(
        dataset,
        CONFIG,
        folder=folder / "all",
        runtime=Runtime(),
        log_folder=folder / "tensorboard",
        **values,
    )


def test_it_learns_from_every_part(dataset: Dataset, tmp_path: Path) -> None:
    # Training and validation part are alike; only the test part tells the two data sets apart.
    items, end = dataset.items.copy(), dataset.offsets[1:]
    tested = (end - 1)[end > dataset.valid_end]
    items[tested] = np.roll(items[tested], 1)
    mine = refit_of(dataset, tmp_path / "a").run()
    theirs = refit_of(replace(dataset, items=items), tmp_path / "b").run()

    assert not torch.equal(mine.item_table, theirs.item_table)


def test_an_epoch_that_grew_takes_more_steps(dataset: Dataset, tmp_path: Path) -> None:
    refit = refit_of(dataset, tmp_path, n_users=dataset.n_users // 2)

    assert refit.steps == {"soft": 24, "hard": 16}


def test_the_stages_after_the_best_one_are_left_out(dataset: Dataset, tmp_path: Path) -> None:
    refit_of(dataset, tmp_path, steps={"soft": 3}).run()

    assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == ["soft-all"]


def test_the_hard_stage_starts_from_the_average_of_the_soft_one(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []
    begin_stage = Learner.begin_stage

    def watched(learner: Learner, stage: Stage, weights: dict[str, torch.Tensor]) -> None:
        starts.append(weights["item_table"].clone())
        begin_stage(learner, stage, weights)

    monkeypatch.setattr(Learner, "begin_stage", watched)
    refit_of(dataset, tmp_path).run()
    soft = refit_of(dataset, tmp_path / "soft", steps={"soft": 12}).run()

    assert len(starts) == 1
    assert torch.equal(starts[0], soft.item_table)


@pytest.mark.parametrize("dies_at", [3, 7, 12, 14, 19])
def test_it_goes_on_as_if_nothing_had_been(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    undisturbed = refit_of(dataset, tmp_path / "undisturbed").run()
    steps = 0
    take_step = Learner.take_step

    def mortal(learner: Learner) -> None:
        nonlocal steps
        if steps == dies_at:
            raise KeyboardInterrupt
        steps += 1
        take_step(learner)

    with monkeypatch.context() as patched:
        patched.setattr(Learner, "take_step", mortal)
        with pytest.raises(KeyboardInterrupt):
            refit_of(dataset, tmp_path / "died").run()
    resumed = refit_of(dataset, tmp_path / "died")
    resumed.resume()
    encoder = resumed.run()

    mine, theirs = encoder.state_dict(), undisturbed.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_what_is_finished_is_not_done_again(dataset: Dataset, tmp_path: Path) -> None:
    encoder = refit_of(dataset, tmp_path).run()
    again = refit_of(dataset, tmp_path)
    again.resume()

    assert torch.equal(again.run().item_table, encoder.item_table)
