"""A yardstick as a run: its figures, what determines it, and its measurement afterwards."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from model.baselines.names import YARDSTICKS
from model.baselines.yardstick_run import fit_yardstick
from model.data.dataset import Dataset
from model.errors import InputError
from model.run import read_run
from model.training.fit import evaluate_run


@pytest.mark.parametrize("name", YARDSTICKS)
def test_measuring_a_run_again_gives_the_same(
    dataset_path: Path, tmp_path: Path, name: str
) -> None:
    manifest = fit_yardstick(dataset_path, tmp_path / "run", name)

    for part in ("valid", "test"):
        again = evaluate_run(tmp_path / "run", part)
        assert again["metrics"] == manifest["metrics"][part]
        assert again["metrics"]["recall@50"] > 0


def test_a_run_says_what_determines_it(dataset: Dataset, tmp_path: Path) -> None:
    fit_yardstick(dataset.path, tmp_path / "run", "ease", {"l2": 7.5})
    run = read_run(tmp_path / "run")

    assert sorted(path.name for path in run.path.iterdir()) == [
        "histories.parquet",
        "items.parquet",
        "run.json",
    ]
    assert run.items.equals(dataset.catalog)
    assert run.manifest["model"] == "ease"
    assert run.manifest["hyper_parameters"] == {"l2": 7.5}
    assert run.manifest["dataset"]["path"] == str(dataset.path.resolve())
    assert run.manifest["metrics"]["test"]["users"] == len(dataset.test.histories)


def test_its_hyper_parameters_are_those_that_it_is_measured_with(
    dataset_path: Path, tmp_path: Path
) -> None:
    default = fit_yardstick(dataset_path, tmp_path / "a", "ease")
    other = fit_yardstick(dataset_path, tmp_path / "b", "ease", {"l2": 0.01})

    assert other["metrics"] != default["metrics"]
    assert evaluate_run(tmp_path / "b", "test")["metrics"] == other["metrics"]["test"]


def test_a_folder_in_use_is_not_written_over(dataset_path: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(InputError, match="holds other files already"):
            fit_yardstick(dataset_path, tmp_path, "pop", resume=resume)
    fit_yardstick(dataset_path, tmp_path / "run", "pop")
    with pytest.raises(InputError, match="holds a finished run already"):
        fit_yardstick(dataset_path, tmp_path / "run", "pop")


def test_an_empty_folder_is_taken(dataset_path: Path, tmp_path: Path) -> None:
    fit_yardstick(dataset_path, tmp_path, "pop")

    assert read_run(tmp_path).manifest["model"] == "pop"


def test_resuming_leaves_a_finished_run_as_it_is(dataset_path: Path, tmp_path: Path) -> None:
    first = fit_yardstick(dataset_path, tmp_path / "run", "itemknn", resume=True)
    before = (tmp_path / "run" / "run.json").stat()

    assert fit_yardstick(dataset_path, tmp_path / "run", "itemknn", resume=True) == first
    assert (tmp_path / "run" / "run.json").stat() == before
    with pytest.raises(InputError, match="holds a finished run of itemknn, not of pop"):
        fit_yardstick(dataset_path, tmp_path / "run", "pop", resume=True)


def test_resuming_with_other_hyper_parameters_is_refused(
    dataset_path: Path, tmp_path: Path
) -> None:
    fit_yardstick(dataset_path, tmp_path / "run", "ease", {"l2": 5.0})

    with pytest.raises(InputError, match=r"other hyper-parameters \(\{'l2': 5\.0\}, now \{'l2': 6"):
        fit_yardstick(dataset_path, tmp_path / "run", "ease", {"l2": 6.0}, resume=True)


@pytest.mark.parametrize("value", [None, [], "much"])
def test_a_run_that_does_not_say_what_determines_it_is_refused(
    dataset_path: Path, tmp_path: Path, value: object
) -> None:
    fit_yardstick(dataset_path, tmp_path / "run", "ease")
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**manifest, "hyper_parameters": value}))

    with pytest.raises(InputError, match=r"run\.json: hyper_parameters are missing; train again"):
        evaluate_run(tmp_path / "run", "test")


def test_a_data_set_that_moved_is_found_where_it_is_said_to_be(
    dataset: Dataset, tmp_path: Path
) -> None:
    moved = replace(dataset, path=shutil.copytree(dataset.path, tmp_path / "moved"))
    manifest = fit_yardstick(dataset.path, tmp_path / "run", "pop")

    result = evaluate_run(tmp_path / "run", "valid", dataset_path=moved.path)
    assert result["metrics"] == manifest["metrics"]["valid"]
    assert result["dataset"] == str(moved.path)
