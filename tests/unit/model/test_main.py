"""``python -m model`` in real processes: prepare, train, evaluate; and being refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model.__main__ import main
from model.run import read_run
from tests.planted import PlantedLog

ROOT = Path(__file__).parents[3]


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "model", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def json_of(*arguments: str | Path) -> tuple[dict[str, Any], str]:
    """Call with ``--json``; return the document and what stood on stderr."""
    done = call(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document, done.stderr


def test_from_log_to_figures(tmp_path: Path) -> None:
    log, items = PlantedLog(n_users=40, items_per_category=10, length=12).write(tmp_path)
    data, run = tmp_path / "data", tmp_path / "run"

    prepared, _ = json_of(
        "prepare", "--interactions", log, "--items", items, "--out", data, "--split", "user"
    )
    assert prepared["split"] == "user"
    assert prepared["users"] == 40

    options = "--k 2 --dim 8 --max-len 9 --batch-size 8 --n-negatives 7 --seed 5 --eval-every 2"
    options += " --max-steps 4 --patience 3 --averaging 0.5 --learning-rate 0.01 --temperature 0.2"
    trained, stderr = json_of("train", data, "--out", run, *options.split())
    assert "soft stage, step 4: loss " in stderr
    assert "hard stage, step 4: loss " in stderr
    assert trained == read_run(run).manifest
    parameters = trained["hyper_parameters"]
    words = options.replace("--", "").replace("-", "_").split()
    for name, value in zip(words[::2], words[1::2], strict=True):
        assert parameters[name] == float(value)

    told = call("evaluate", run, "--part", "valid")
    metrics = trained["metrics"]["valid"]
    assert told.returncode == 0
    assert told.stdout.startswith(f"valid: recall@10 {metrics['recall@10']:.4f}, recall@20 ")
    assert told.stdout.endswith(f", {metrics['users']} users\n")
    assert told.stderr == ""


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("u1,,3", "line 3: field 'item_id' is empty (mend the row, or pass --on-bad-row skip"),
        ("u1,i1,then", "line 3: field 'timestamp' is 'then'; expected seconds since epoch"),
    ],
)
def test_a_bad_row_is_one_line_on_stderr_and_status_1(
    tmp_path: Path, row: str, reason: str
) -> None:
    log = tmp_path / "log.csv"
    log.write_text(f"user_id,item_id,timestamp\nu,a,1\n{row}\nu,b,2\n")
    done = call("prepare", "--interactions", log, "--out", tmp_path / "out", "--json")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {log}: {reason}")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_skipped_rows_are_told(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id\nu,a\nu,\nu,b\n")
    done = call("prepare", "--interactions", log, "--out", tmp_path / "out", "--on-bad-row", "skip")

    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "2 interactions of 1 users with 2 items; 1 rows skipped\n"
        "split: user (the log has no timestamps): "
        "2 training, 0 validation, 0 test interactions\n"
    )


def test_an_impossible_setting_is_named_by_its_option(tmp_path: Path) -> None:
    done = call("train", tmp_path, "--out", tmp_path / "run", "--k", "0")

    assert done.returncode == 1
    assert done.stderr == "error: --k is 0; expected at least 1\n"


@pytest.mark.parametrize(
    "arguments", [(), ("fly",), ("train",), ("prepare", "--split", "week", "--out", "x")]
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    done = call(*arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage: python -m model" in done.stderr


def test_help_does_not_load_torch() -> None:
    code = (
        "import sys; from model.__main__ import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit as done: sys.exit(done.code or 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "--max-len" in done.stdout


def test_each_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ratings.dat").write_text(
        "".join(f"{user}::{item}::5::{item}\n" for user in range(9) for item in range(user, 9))
    )
    (tmp_path / "movies.dat").write_text("".join(f"{item}::T{item}::Drama\n" for item in range(9)))
    log, data, run = (str(tmp_path / name) for name in ("log", "data", "run"))
    steps = ["--max-steps", "1", "--batch-size", "4", "--k", "2", "--dim", "4"]

    assert main(["movielens", "--source", str(tmp_path), "--out", log]) == 0
    assert capsys.readouterr().out == "45 ratings of 9 titles from ml-1m\n"
    assert main(["prepare", "--interactions", f"{log}/interactions.csv", "--out", data]) == 0
    assert capsys.readouterr().out.endswith("35 training, 5 validation, 5 test interactions\n")
    assert main(["train", data, "--out", run, *steps]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": recall@10 ")[0] for line in lines[:4]] == [
        "soft, valid",
        "soft, test",
        "hard, valid",
        "hard, test",
    ]
    assert lines[4] == f"chosen by validation: {read_run(Path(run)).manifest['stage']} stage"
    assert main(["evaluate", run]) == 0
    assert (
        capsys.readouterr().out
        == lines[["soft", "hard"].index(lines[4].split()[3]) * 2 + 1][6:] + "\n"
    )
    assert main(["train", data, "--out", run]) == 1
    assert capsys.readouterr() == (
        "",
        f"error: {run}: holds a finished run already; choose another --out\n",
    )
