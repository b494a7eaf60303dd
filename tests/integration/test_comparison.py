"""``python -m model compare`` over two logs, killed in the middle, and asked again."""

import json
import os
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from model.data.dataset import prepare
from tests.planted import PlantedLog

ROOT = Path(__file__).parents[2]
MODELS = ("opal", "comirec-sa", "gru4rec", "pop", "itemknn")
SEEDS = {"with & categories": 2, "plain": 1}
OPTIONS = [
    *("--models", ",".join(MODELS), "--seeds", "2,plain=1", "--jobs", "2", "--device", "cpu"),
    *("--k", "8", "--option", "dim=16", "--option", "max-len=20", "--option", "batch-size=64"),
    *("--option", "learning-rate=0.003", "--option", "averaging=0.9"),
    *("--option", "eval-every=20", "--option", "patience=9", "--option", "max-steps=200"),
]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One with categories, one without."""
    folder = tmp_path_factory.mktemp("data")
    interactions, items = PlantedLog(n_users=200, length=20).write(folder)
    prepare(interactions, folder / "with & categories", items=items, split="user")
    other, _ = PlantedLog(n_users=150, n_categories=3, length=20, seed=1).write(folder / "other")
    prepare(other, folder / "plain", split="user")
    return [folder / "with & categories", folder / "plain"]


def compare(datasets: list[Path], out: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "model", "compare", *datasets, "--out", out, *OPTIONS, *options],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_in_the_middle(process: subprocess.Popen[str], out: Path, n_finished: int) -> None:
    """Kill it when some cells are finished and another one has a checkpoint."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        finished = {path.parent for path in out.rglob("measures.json")}
        begun = {path.parents[1] for path in out.rglob("checkpoints/latest.json")}
        if len(finished) >= n_finished and any(not (run / "run.json").exists() for run in begun):
            break
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()


class Loads(HTMLParser):
    """What a page asks for besides itself."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            f"{tag} {name}={value}"
            for name, value in attrs
            if name in {"src", "href", "xlink:href", "data", "srcset", "action"}
            and not (value or "").startswith(("#", "data:"))
        ]


def test_killed_resumed_and_reported(datasets: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    kill_in_the_middle(compare(datasets, out), out, 3)
    finished = {path: path.stat().st_mtime_ns for path in out.rglob("measures.json")}
    n_cells = 3 * 2 + 2 + 3 * 1 + 2  # trainings and yardsticks of either data set
    assert 3 <= len(finished) < n_cells

    process = compare(datasets, out, "--json")
    stdout, stderr = process.communicate(timeout=300)

    assert process.returncode == 0, stderr
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert f"{len(finished)} of {n_cells} cells are finished already" in stderr
    assert f"cell {n_cells} of {n_cells}" in stderr
    logs = [path.read_text() for path in out.rglob("log.txt")]
    assert len(logs) == n_cells
    assert any("resuming" in log for log in logs)
    document = json.loads(stdout)
    assert document["failed"] == {}
    assert document["missing"] == []
    check_figures(document)
    check_report(out)


def check_figures(document: dict[str, Any]) -> None:
    """Check that planted interests are found by what looks for them, and that all is measured."""
    by_line = {
        (each["dataset"], each["model"], each["variant"]): each for each in document["results"]
    }
    for dataset, n_seeds in SEEDS.items():
        values = {model: by_line[dataset, model, "main"]["values"] for model in MODELS}
        popular = values["pop"]["recall@50"]["mean"]
        for model in ("opal", "comirec-sa", "itemknn"):
            assert values[model]["recall@50"]["mean"] > 1.3 * popular
        assert by_line[dataset, "gru4rec", "main"]["seeds"] == n_seeds
        assert values["opal"]["cpu"]["mean"] > 0
        assert values["pop"]["recall@50"]["std"] is None
        assert ("ild_category@50" in values["opal"]) == (dataset != "plain")
        # k = 8 is what they have anyway.
        assert by_line[dataset, "opal", "k-8"]["values"] == values["opal"]
    verdicts = {
        (each["dataset"], each["rival"], each["metric"]): each["verdict"]
        for each in document["opal_against"]
    }
    assert verdicts["plain", "pop", "recall@50"] == "ahead"
    assert len(verdicts) == 2 * 4 * 2


def check_report(out: Path) -> None:
    page = (out / "report.html").read_text()
    markdown = (out / "results.md").read_text()
    assert Loads(page).found == []
    assert "@import" not in page
    assert "with &amp; categories, recipe default" in page
    for title in (
        "Accuracy",
        "OPAL against each",
        "Diversity, breadth, popularity",
        "Diversity against Recall@50",
        "Diversity at equal recall",
        "Cost",
        "Training curves",
        "Share of interactions per interest",
        "Items by hyper-category",
        "Number of interests",
        "Recall@50 and diversity by number of interests",
    ):
        assert page.count(f"<strong>{title}</strong>") == 2, title
        assert markdown.count(f"### {title}\n") == 2, title
    assert page.count("<svg") == 2 * 5
    assert "by first category" in page
    assert "The data have no categories" in page


def test_a_model_is_added_later_and_the_report_made_anew(
    datasets: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = compare(datasets[1:], out, "--models", "pop")
    first.communicate(timeout=120)
    assert first.returncode == 0
    made = {path: path.stat().st_mtime_ns for path in out.rglob("measures.json")}
    second = compare(datasets[1:], out, "--models", "pop,itemknn", "--report-only", "--json")
    stdout, stderr = second.communicate(timeout=120)
    document = json.loads(stdout)

    assert second.returncode == 0, stderr
    assert document["missing"] == ["plain itemknn"]
    assert [each["model"] for each in document["results"]] == ["pop"]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("measures.json")} == made


def test_a_damaged_cell_is_named_and_run_again(datasets: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--models", "pop,itemknn", "--json")
    compare(datasets[1:], out, *options).communicate(timeout=120)
    cell = out / "plain/yardsticks/pop"
    (cell / "measures.json").write_text("{")

    reported = compare(datasets[1:], out, *options, "--report-only")
    stdout, stderr = reported.communicate(timeout=120)
    assert reported.returncode == 0, stderr
    assert json.loads(stdout)["missing"] == ["plain pop"]
    assert f"{cell}: JSONDecodeError" in stderr
    assert "it counts as missing" in stderr

    again = compare(datasets[1:], out, *options)
    stdout, stderr = again.communicate(timeout=120)
    assert again.returncode == 0, stderr
    assert json.loads(stdout)["missing"] == []
    assert "it is run again" in stderr


def test_other_options_in_the_same_folder_are_refused(datasets: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = compare(datasets[1:], out, "--models", "opal", "--seeds", "1", "--k", "8")
    first.communicate(timeout=120)
    assert first.returncode == 0

    second = compare(datasets[1:], out, "--models", "opal", "--option", "dim=8")
    _, stderr = second.communicate(timeout=60)

    assert second.returncode == 1
    assert "holds a cell with other options (--dim is 8, was 16)" in stderr


def test_a_cell_that_fails_is_named_and_the_rest_is_reported(
    datasets: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = out / "plain/default/opal/main/seed-0/run"
    run.mkdir(parents=True)
    (run / "notes.txt").write_text("somebody else's")

    process = compare(datasets[1:], out, "--models", "opal,pop", "--k", "8")
    stdout, stderr = process.communicate(timeout=120)

    assert process.returncode == 1
    assert "error: 1 cells failed: plain opal default main seed 0" in stderr
    assert "holds other files already" in (out / "results.md").read_text()
    assert "holds other files already" in (out / "report.html").read_text()
    assert "plain pop main recall@50" in stdout
    assert "Traceback" not in stderr + stdout


def test_a_log_without_test_targets_is_refused_before_anything_runs(tmp_path: Path) -> None:
    interactions, _ = PlantedLog(n_users=30, items_per_category=10, length=4).write(tmp_path)
    prepare(interactions, tmp_path / "short", split="user")
    out = tmp_path / "out"

    process = compare([tmp_path / "short"], out, "--models", "opal,pop", "--seeds", "1")
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "short: no user has a test target" in stderr
    assert stdout == ""
    assert not out.exists()
