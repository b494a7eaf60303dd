"""Cells in processes of their own: some fail, and the others go on."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from model.comparison.cell import FAILED_FILE, LOG_FILE, MEASURES_FILE, RUN_FOLDER, Cell
from model.comparison.plan import ALL_OTHERS, Plan, make_plan
from model.comparison.running import run_cells
from model.comparison.summary import Summary
from model.data.dataset import prepare
from model.errors import OpalError
from model.run import git_revision
from tests.comparisons import request
from tests.planted import PlantedLog

STEPS = {"dim": 8, "batch_size": 16, "eval_every": 5, "max_steps": 10, "max_len": 9}


def plan_of(dataset: Path, out: Path, *models: str, **options: object) -> Plan:
    wanted = request(dataset, out, *models, seeds={ALL_OTHERS: 1}, options={**STEPS, **options})
    return make_plan(wanted)


def cells_of(dataset: Path, out: Path, *models: str, **options: object) -> list[Cell]:
    return plan_of(dataset, out, *models, **options).cells


def test_what_is_finished_is_not_run_again(dataset_path: Path, tmp_path: Path) -> None:
    cells = cells_of(dataset_path, tmp_path, "opal", "pop")
    run_cells(cells, tmp_path, jobs=2, device="cpu")
    files = [path for cell in cells for path in cell.folder.rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}

    run_cells(cells, tmp_path, jobs=2, device="cpu")

    assert {path: path.stat().st_mtime_ns for path in files} == before
    opal, pop = (cell.measures() for cell in cells)
    assert opal["k"] == 8
    assert set(opal["stages"]) == {"soft", "hard"}
    assert opal["stages"][opal["stage"]]["test"] == opal["test"]
    assert opal["parameters"] >= 8 * (cells[0].summary["items"] + 8)  # and the hard stage's
    assert opal["seconds"]["cpu"] > 0
    assert pop["hyper_parameters"] == {}
    assert opal["revisions"] == pop["revisions"]
    assert opal["revisions"] == dict.fromkeys(("trained", "measured"), git_revision())
    # What was measured on the exported encoder is what training measured on its own.
    manifest = json.loads((cells[0].folder / RUN_FOLDER / "run.json").read_text())
    for name, value in manifest["metrics"]["test"].items():
        assert opal["test"][name] == pytest.approx(value, abs=1e-4)


def test_vectors_of_one_number_are_reported_without_a_map(
    dataset_path: Path, tmp_path: Path
) -> None:
    plan = plan_of(dataset_path, tmp_path, "opal", dim=1)
    run_cells(plan.cells, tmp_path, jobs=1, device="cpu")

    section = Summary(plan).report().sections[1]

    assert (
        "There is no map of OPAL's items: vectors of 1 number span no plane." in section.paragraphs
    )
    assert "Items by hyper-category" not in [part.title for part in section.parts]


def test_a_damaged_cell_is_measured_again_and_not_trained(
    dataset_path: Path, tmp_path: Path
) -> None:
    (cell,) = cells_of(dataset_path, tmp_path, "opal")
    run_cells([cell], tmp_path, jobs=1, device="cpu")
    before = cell.measures()
    trained = (cell.folder / RUN_FOLDER / "run.json").stat().st_mtime_ns
    (cell.folder / MEASURES_FILE).write_text("{")

    run_cells([cell], tmp_path, jobs=1, device="cpu")

    assert cell.measures() == before  # the seconds too
    assert (cell.folder / RUN_FOLDER / "run.json").stat().st_mtime_ns == trained


def test_metrics_of_users_average_to_the_measures(dataset_path: Path, tmp_path: Path) -> None:
    (cell,) = cells_of(dataset_path, tmp_path, "itemknn")
    run_cells([cell], tmp_path, jobs=1, device="cpu")

    users, test = cell.users(), cell.measures()["test"]

    assert sorted(users) == sorted(
        f"{kind}@{cutoff}" for kind in ("recall", "hitrate", "ndcg") for cutoff in (10, 20, 50)
    )
    for name, values in users.items():
        assert len(values) == test["users"]
        assert values.mean() == pytest.approx(test[name], abs=1e-5)


def test_one_that_fails_says_so_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    interactions, _ = PlantedLog(n_users=30, items_per_category=10, length=4).write(tmp_path)
    prepare(interactions, tmp_path / "short", split="user")  # nobody to validate by
    cells = cells_of(tmp_path / "short", tmp_path / "out", "opal", "pop")

    with caplog.at_level("INFO"):
        run_cells(cells, tmp_path / "out", jobs=1, device="cpu")

    failure = cells[0].failure()
    assert failure is not None
    assert "no user has a validation target" in failure
    assert not cells[0].is_finished
    assert cells[1].is_finished
    assert "cell 1 of 2: short opal default main seed 0: failed: " in caplog.text
    assert "cell 2 of 2: short pop: " in caplog.text


def test_one_that_cannot_be_begun_fails_and_the_others_go_on(
    dataset_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cells = cells_of(dataset_path, tmp_path, "pop", "itemknn")
    cells[0].folder.parent.mkdir(parents=True)
    cells[0].folder.write_text("no folder can be made here, nor be written into")

    with caplog.at_level("INFO"):
        failed = run_cells(cells, tmp_path, jobs=1, device="cpu")

    assert list(failed) == [cells[0].folder]
    assert failed[cells[0].folder].startswith("cannot be begun: ")
    assert "cell 1 of 2: dataset pop: failed: cannot be begun" in caplog.text
    assert f"{cells[0].folder / FAILED_FILE}: cannot be written" in caplog.text
    assert cells[1].is_finished


def test_a_signal_stops_all_and_the_same_command_goes_on(
    dataset_path: Path, tmp_path: Path
) -> None:
    endless = {"max_steps": 100_000, "patience": 100_000}
    (cell,) = cells_of(dataset_path, tmp_path, "opal", **endless)

    def interrupt() -> None:
        log = cell.folder / LOG_FILE
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if log.exists() and "step 5:" in log.read_text():
                break
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(OpalError, match="stopped by SIGTERM"):
        run_cells([cell], tmp_path, jobs=1, device="cpu")
    thread.join()

    assert cell.failure() is None
    assert "saved at step" in (cell.folder / LOG_FILE).read_text()
    checkpoint = json.loads((cell.folder / RUN_FOLDER / "checkpoints/latest.json").read_text())
    assert checkpoint["step"] >= 5
