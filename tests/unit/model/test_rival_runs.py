"""Rivals trained, measured, resumed and written the way OPAL is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model.config.training_config import Recipe, TrainingConfig
from model.data.dataset import Dataset
from model.inference.loading import load_encoder
from model.model_names import OPAL, SINGLE_VECTOR_RIVALS, TRAINABLE_MODELS
from model.rivals.rival import MAIN
from model.run import read_run
from model.training import recipe as recipes
from model.training.checkpoint import load_checkpoint
from model.training.fit import evaluate_run, fit
from model.training.learner import LATEST
from model.training.training import Training

RIVALS = [name for name in TRAINABLE_MODELS if name != OPAL]
SMALL: dict[str, Any] = {
    "dim": 8,
    "batch_size": 16,
    "eval_every": 5,
    "patience": 9,
    "max_steps": 10,
    "max_len": 6,
}


def config_of(model: str, recipe: Recipe = "default", **options: Any) -> TrainingConfig:
    k = {} if model in SINGLE_VECTOR_RIVALS else {"k": 3}
    return TrainingConfig.for_recipe(recipe, {**SMALL, **k, **options}, model=model)


@pytest.mark.parametrize("recipe", ["default", "paper"])
@pytest.mark.parametrize("model", RIVALS)
def test_a_rivals_run_holds_the_encoder_that_was_measured(
    dataset_path: Path, dataset: Dataset, tmp_path: Path, model: str, recipe: Recipe
) -> None:
    config = config_of(model, recipe)
    manifest = fit(dataset_path, tmp_path / "run", config, yardsticks=())

    run = read_run(tmp_path / "run")
    encoder = load_encoder(run.encoder_path)
    k = 1 if model in SINGLE_VECTOR_RIVALS else 3
    assert (manifest["model"], manifest["stage"], [*manifest["stages"]]) == (model, MAIN, [MAIN])
    fitted = config.fitted_to(dataset.n_users)
    assert manifest["hyper_parameters"] == fitted.to_dict()
    assert fitted.k == k
    assert (encoder.n_interests, encoder.dim, encoder.max_len) == (k, 8, 6)
    assert encoder.unit_vectors == config.unit_vectors
    measured = evaluate_run(run.path, "test")["metrics"]
    assert measured == pytest.approx(manifest["metrics"]["test"], abs=0.02)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("model", RIVALS)
def test_an_interrupted_training_of_a_rival_goes_on_as_if_nothing_had_been(
    dataset: Dataset, tmp_path: Path, model: str, sparse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sparse:
        monkeypatch.setattr(recipes, "DENSE_ITEMS", 10)
    config = config_of(model)
    Training(dataset, config, tmp_path / "undisturbed").run()
    Training(dataset, replace(config, max_steps=5), tmp_path / "begun").run()
    path = tmp_path / "begun" / f"{LATEST}.json"
    path.write_text(path.read_text().replace('"max_steps": 5', '"max_steps": 10'))
    resumed = Training(dataset, config, tmp_path / "begun")
    resumed.resume()
    assert resumed.learner.step == 5
    resumed.run()

    mine, theirs = (
        load_checkpoint(tmp_path / name, LATEST)[0] for name in ("begun", "undisturbed")
    )
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("model", RIVALS)
def test_a_rival_is_trained_anew_on_everything(
    dataset_path: Path, tmp_path: Path, model: str
) -> None:
    manifest = fit(dataset_path, tmp_path / "run", config_of(model), yardsticks=(), fit_on="all")

    assert manifest["fit_on"] == "all"
    assert manifest["refit"]["steps"] == {MAIN: manifest["stages"][MAIN]["step"]}
