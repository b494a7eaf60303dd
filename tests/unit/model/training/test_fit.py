"""From a prepared data set to a finished run, and its measurement afterwards."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.baselines import ease
from model.baselines.fitting import fit_baseline
from model.baselines.measuring import measure_parts
from model.baselines.yardstick_run import fit_yardstick
from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset, prepare
from model.errors import InputError
from model.evaluation import evaluate_scores, score_by_encoder
from model.inference.loading import load_encoder
from model.opal import OpalEncoder
from model.run import claim, read_run
from model.tensor_files import map_tensors
from model.training.checkpoint import load_checkpoint
from model.training.fit import FitOn, evaluate_run, fit
from model.training.learner import Learner
from model.training.popularity import popularity_lengths
from model.training.training import Training
from tests.planted import PlantedLog

CONFIG = TrainingConfig(
    k=3, dim=8, batch_size=16, eval_every=5, patience=2, max_steps=10, max_len=6, popularity=0.0
)


@pytest.fixture(scope="module")
def run_path(dataset_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fit") / "run"
    fit(dataset_path, path, CONFIG)
    return path


def test_a_run_is_complete(run_path: Path, dataset: Dataset) -> None:
    run = read_run(run_path)
    manifest = run.manifest

    assert sorted(path.name for path in run_path.iterdir()) == [
        "checkpoints",
        "encoder.safetensors",
        "histories.parquet",
        "items.parquet",
        "run.json",
        "tensorboard",
    ]
    assert run.items.equals(dataset.catalog)
    assert len(run.histories) == len(dataset.valid.histories) > 0
    for mine, theirs in zip(run.histories, dataset.valid.histories, strict=True):
        assert np.array_equal(mine, theirs)
    assert manifest["model"] == "opal"
    fitted = CONFIG.fitted_to(dataset.n_users)
    assert manifest["hyper_parameters"] == fitted.to_dict()
    assert manifest["trained_on"] == {"device": "a CPU", "torch": torch.__version__}
    assert manifest["dataset"] == {
        "name": "dataset",
        "path": str(dataset.path.resolve()),
        **dataset.summary,
    }
    assert {point["stage"] for point in manifest["curve"]} == set(OpalEncoder.stages)


# Torch and NumPy round otherwise: two items of CMI may tie, and swap, below rank 50.
@pytest.mark.parametrize(("model", "bound"), [("opal", 1e-6), ("cmi", 1e-4)])
def test_attention_comes_with_many_users(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    bound: float,
) -> None:
    monkeypatch.setattr("model.config.data_size.MANY_USERS", dataset.n_users)
    fit(dataset.path, tmp_path / "run", replace(CONFIG, model=model), yardsticks=[])
    run = read_run(tmp_path / "run")

    assert run.manifest["hyper_parameters"]["attention"] is True
    _, metadata = map_tensors(run.encoder_path)
    assert json.loads(metadata["encoder"])["model"] == f"{model}-attention"
    valid = dataset.valid
    found = evaluate_scores(
        score_by_encoder(load_encoder(run.encoder_path)),
        dataset.n_items,
        valid.histories,
        valid.targets,
    )
    assert found == pytest.approx(run.manifest["metrics"]["valid"], abs=bound)


def test_yardsticks_stand_beside_it(run_path: Path, dataset: Dataset) -> None:
    manifest = read_run(run_path).manifest

    assert list(manifest["yardsticks"]) == ["pop", "itemknn", "ease"]
    assert manifest["yardsticks_left_out"] == {}
    expected = measure_parts(fit_baseline("ease", dataset), dataset)
    assert manifest["yardsticks"]["ease"] == expected
    assert expected["test"].keys() == manifest["metrics"]["test"].keys()


def test_only_the_yardsticks_wanted_are_measured(dataset_path: Path, tmp_path: Path) -> None:
    short = replace(CONFIG, max_steps=1)

    assert fit(dataset_path, tmp_path / "a", short, yardsticks=())["yardsticks"] == {}
    assert list(fit(dataset_path, tmp_path / "b", short, yardsticks=("pop",))["yardsticks"]) == [
        "pop"
    ]


def test_a_yardstick_that_does_not_fit_is_refused_before_training(
    dataset_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ease, "MAX_ITEMS", 100)

    with pytest.raises(InputError, match="EASE needs a dense matrix"):
        fit(dataset_path, tmp_path / "run", CONFIG, yardsticks=("ease",))
    assert not (tmp_path / "run").exists()


def test_the_stage_with_the_better_validation_is_chosen(run_path: Path) -> None:
    manifest = read_run(run_path).manifest
    stages = manifest["stages"]
    soft, hard = (stages[stage]["metrics"]["valid"]["recall@50"] for stage in OpalEncoder.stages)
    best = "soft" if soft > hard else "hard"

    assert soft != hard, "else the choice could not be told"
    assert manifest["stage"] == best
    assert manifest["metrics"] == stages[best]["metrics"]
    for stage in OpalEncoder.stages:
        curve = [p for p in manifest["curve"] if p["stage"] == stage]
        assert {p["valid_recall@50"] for p in curve if p["step"] == stages[stage]["step"]} == {
            stages[stage]["metrics"]["valid"]["recall@50"]
        }


def test_the_encoder_is_that_of_the_chosen_stage(run_path: Path) -> None:
    run = read_run(run_path)
    encoder = load_encoder(run.encoder_path)
    tensors, _ = load_checkpoint(run_path / "checkpoints", run.manifest["stage"])

    expected = torch.nn.functional.normalize(tensors["item_table"], dim=-1)
    np.testing.assert_allclose(encoder.item_vectors, expected, rtol=1e-6)
    assert (encoder.n_interests, encoder.dim, encoder.max_len) == (3, 8, 6)


@pytest.mark.parametrize("part", ["test", "valid"])
def test_measuring_a_run_gives_what_training_wrote(run_path: Path, part: str) -> None:
    run = read_run(run_path)
    result = evaluate_run(run_path, part)

    assert result["metrics"] == pytest.approx(run.manifest["metrics"][part])
    assert {name: result[name] for name in ("run", "part")} == {
        "run": str(run_path),
        "part": part,
    }
    assert result["metrics"]["recall@10"] > 0


def test_a_data_set_that_moved_is_found_where_it_is_said_to_be(
    run_path: Path, dataset_path: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(run_path, tmp_path / "run")
    manifest = (run / "run.json").read_text()
    (run / "run.json").write_text(manifest.replace(str(dataset_path), str(tmp_path / "gone")))
    moved = shutil.copytree(dataset_path, tmp_path / "moved")

    with pytest.raises(InputError, match="gone: not a prepared data set"):
        evaluate_run(run, "test")
    result = evaluate_run(run, "test", dataset_path=moved)
    assert result["metrics"] == evaluate_run(run_path, "test")["metrics"]
    assert result["dataset"] == str(moved)


@pytest.mark.parametrize("value", [[], None, {}, {"path": 5}])
def test_a_run_that_does_not_say_its_data_set_is_refused(
    run_path: Path, tmp_path: Path, value: object
) -> None:
    run = shutil.copytree(run_path, tmp_path / "run")
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, "dataset": value}))

    with pytest.raises(InputError, match=r"run\.json: dataset\.path is missing; pass --dataset"):
        evaluate_run(run, "test")


def test_another_catalog_is_refused(run_path: Path, tmp_path: Path) -> None:
    log, _ = PlantedLog(n_users=20, seed=9).write(tmp_path)
    prepare(log, tmp_path / "other")

    with pytest.raises(InputError, match="other: its catalog is not the one that"):
        evaluate_run(run_path, "test", dataset_path=tmp_path / "other")


def test_a_finished_run_is_not_trained_over(run_path: Path, dataset_path: Path) -> None:
    before = (run_path / "run.json").read_bytes()

    with pytest.raises(InputError, match="holds a finished run already"):
        fit(dataset_path, run_path, CONFIG)
    assert (run_path / "run.json").read_bytes() == before


def test_a_finished_run_is_left_as_it_is_by_resuming(run_path: Path, dataset_path: Path) -> None:
    before = (run_path / "run.json").read_bytes()

    assert fit(dataset_path, run_path, CONFIG, resume=True) == read_run(run_path).manifest
    assert (run_path / "run.json").read_bytes() == before


def test_resuming_a_finished_run_with_other_options_is_refused(
    run_path: Path, dataset_path: Path
) -> None:
    with pytest.raises(
        InputError, match=r"run: .* other options .*--k is 2, was 3; --seed is 9, was 0"
    ):
        fit(dataset_path, run_path, replace(CONFIG, k=2, seed=9), resume=True)


def test_resuming_a_run_of_another_model_is_refused(dataset_path: Path, tmp_path: Path) -> None:
    fit_yardstick(dataset_path, tmp_path / "run", "pop")

    with pytest.raises(InputError, match="holds a finished run of pop, not of opal"):
        fit(dataset_path, tmp_path / "run", CONFIG, resume=True)


def test_an_unfinished_training_is_not_trained_over(dataset_path: Path, tmp_path: Path) -> None:
    Training(Dataset.open(dataset_path), CONFIG, tmp_path / "run" / "checkpoints").run()

    with pytest.raises(InputError, match="holds an unfinished training; pass --resume"):
        fit(dataset_path, tmp_path / "run", CONFIG)


def test_a_resumed_fit_ends_in_the_same_run(
    run_path: Path, dataset_path: Path, tmp_path: Path
) -> None:
    # All is trained, and the crash came before the run was written.
    shutil.copytree(run_path / "checkpoints", tmp_path / "run" / "checkpoints")
    resumed = fit(dataset_path, tmp_path / "run", CONFIG, resume=True)

    expected = read_run(run_path).manifest
    for name in ("stage", "metrics", "stages", "curve", "hyper_parameters"):
        assert resumed[name] == expected[name]
    name = "encoder.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (run_path / name).read_bytes()


def test_a_folder_of_something_else_is_not_filled(dataset_path: Path, tmp_path: Path) -> None:
    data = shutil.copytree(dataset_path, tmp_path / "data")

    for resume in (False, True):
        with pytest.raises(InputError, match="holds other files already"):
            fit(data, data, CONFIG, resume=resume)
    assert Dataset.open(data).n_users == 60


def test_resuming_where_nothing_is_starts_anew(dataset_path: Path, tmp_path: Path) -> None:
    manifest = fit(dataset_path, tmp_path / "run", replace(CONFIG, max_steps=2), resume=True)

    assert [point["step"] for point in manifest["curve"]] == [2, 2]


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a prepared data set"):
        fit(tmp_path, tmp_path / "run", CONFIG)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def run_on_all(dataset_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fit-on-all") / "run"
    fit(dataset_path, path, CONFIG, yardsticks=(), fit_on="all")
    return path


def test_fit_on_all_serves_another_encoder_with_the_figures_of_the_validated_one(
    run_path: Path, run_on_all: Path
) -> None:
    mine, theirs = read_run(run_on_all).manifest, read_run(run_path).manifest

    assert (mine["fit_on"], theirs["fit_on"]) == ("all", "train")
    assert "refit" not in theirs
    for name in ("stage", "metrics", "stages", "curve"):
        assert mine[name] == theirs[name]
    # As many users can be trained on as before: no epoch has grown.
    stages = OpalEncoder.stages[: OpalEncoder.stages.index(mine["stage"]) + 1]
    assert mine["refit"]["steps"] == {stage: mine["stages"][stage]["step"] for stage in stages}
    assert mine["refit"]["metrics"].startswith("not measured: those of this run are of the model")
    encoders = [load_encoder(read_run(path).encoder_path) for path in (run_on_all, run_path)]
    assert encoders[0].max_len == encoders[1].max_len
    assert not np.array_equal(encoders[0].item_vectors, encoders[1].item_vectors)


def test_an_encoder_that_has_seen_the_test_part_is_not_measured_on_it(run_on_all: Path) -> None:
    with pytest.raises(InputError, match=r"run: trained with --fit-on all, .* is in run\.json"):
        evaluate_run(run_on_all, "test")


def test_a_finished_run_fitted_on_something_else_is_refused(
    run_path: Path, run_on_all: Path, dataset_path: Path
) -> None:
    with pytest.raises(InputError, match=r"other options \(--fit-on is all, was train\)"):
        fit(dataset_path, run_path, CONFIG, resume=True, fit_on="all")
    with pytest.raises(InputError, match=r"other options \(--fit-on is train, was all\)"):
        fit(dataset_path, run_on_all, CONFIG, resume=True)
    assert fit(dataset_path, run_on_all, CONFIG, resume=True, fit_on="all")["fit_on"] == "all"


def test_two_trainings_do_not_share_a_folder(dataset_path: Path, tmp_path: Path) -> None:
    with (
        claim(tmp_path / "run"),
        pytest.raises(InputError, match=r"run: another training is at work there; wait"),
    ):
        fit(dataset_path, tmp_path / "run", CONFIG, resume=True, yardsticks=())

    fit(dataset_path, tmp_path / "run", CONFIG, resume=True, yardsticks=())


def test_a_training_that_died_before_its_first_checkpoint_is_resumed(
    dataset_path: Path, tmp_path: Path, run_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Learner, "take_losses", lambda _: _die())
        with pytest.raises(KeyboardInterrupt):
            fit(dataset_path, tmp_path / "run", CONFIG, yardsticks=())

    with pytest.raises(InputError, match="holds an unfinished training; pass --resume"):
        fit(dataset_path, tmp_path / "run", CONFIG)
    resumed = fit(dataset_path, tmp_path / "run", CONFIG, resume=True, yardsticks=())
    assert resumed["curve"] == read_run(run_path).manifest["curve"]


def _die() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("fit_on", ["train", "all"])
def test_popularity_counts_in_the_encoder_as_in_the_figures(
    dataset: Dataset, tmp_path: Path, fit_on: FitOn
) -> None:
    config = replace(CONFIG, popularity=0.4)
    manifest = fit(dataset.path, tmp_path / "run", config, yardsticks=(), fit_on=fit_on)
    encoder = load_encoder(tmp_path / "run" / "encoder.safetensors")

    assert {stage["popularity"] for stage in manifest["stages"].values()} == {0.4}
    interactions = dataset.catalog["interactions"].to_numpy()
    lengths = popularity_lengths(interactions, 0.4)
    np.testing.assert_array_equal(encoder.item_lengths, lengths)
    np.testing.assert_allclose(np.linalg.norm(encoder.item_vectors, axis=1), lengths, rtol=1e-5)
    if fit_on == "train":
        measured = evaluate_run(tmp_path / "run", "test")["metrics"]
        assert measured == pytest.approx(manifest["metrics"]["test"])


def test_an_unfinished_training_that_knew_no_popularity_goes_on(
    dataset_path: Path, tmp_path: Path
) -> None:
    fit(dataset_path, tmp_path, CONFIG, yardsticks=())
    latest = tmp_path / "checkpoints" / "latest.json"
    state = json.loads(latest.read_text())
    del state["config"]["popularity"]
    latest.write_text(json.dumps(state))
    (tmp_path / "run.json").unlink()

    resumed = fit(
        dataset_path, tmp_path, replace(CONFIG, popularity=0.4), resume=True, yardsticks=()
    )
    assert resumed["stages"]["soft"]["popularity"] == 0.4
