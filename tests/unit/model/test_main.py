"""``python -m model`` in real processes: prepare, train, evaluate; being refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from model.__main__ import main
from model.baselines import yardsticks
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


def test_targets_are_ranked_among_sampled_items_where_asked(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    assert main(["train", str(data), "--out", run, "--model", "pop"]) == 0
    capsys.readouterr()

    assert main(["evaluate", run, "--negatives", "9"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("test, each target among 9 others: hitrate@1 0.")
    assert ", ndcg@10 0." in told
    assert ", mrr 0." in told
    assert main(["evaluate", run, "--negatives", "999"]) == 1
    assert "error: --negatives is 999, but a user has had " in capsys.readouterr().err


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set, prepared as a person would."""
    folder = tmp_path_factory.mktemp("data")
    log, _ = PlantedLog(n_users=40, items_per_category=10, length=12).write(folder)
    done = call("prepare", "--interactions", log, "--out", folder / "data", "--split", "user")
    assert done.returncode == 0, done.stderr
    return folder / "data"


@pytest.mark.parametrize("name", ["pop", "itemknn", "ease"])
def test_a_yardstick_is_trained_and_measured(data: Path, tmp_path: Path, name: str) -> None:
    trained, _ = json_of("train", data, "--out", tmp_path / "run", "--model", name)
    measured, _ = json_of("evaluate", tmp_path / "run", "--part", "valid")

    assert trained == read_run(tmp_path / "run").manifest
    assert trained["model"] == name
    assert measured["metrics"] == trained["metrics"]["valid"]


def test_the_weight_of_ease_is_an_option(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", "ease", "--ease-l2", "3"]

    assert main(["train", str(data), "--out", str(tmp_path / "run"), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": recall@10 ")[0] for line in lines] == ["ease, valid", "ease, test"]
    assert read_run(tmp_path / "run").manifest["hyper_parameters"] == {"l2": 3}


@pytest.mark.parametrize(
    ("options", "names", "model"),
    [
        ("--model ease --k 8", "--k", "ease"),  # the default's value, but it was asked for
        ("--model pop --ease-l2 3 --seed 1", "--ease-l2, --seed", "pop"),
        ("--model itemknn --yardsticks none", "--yardsticks", "itemknn"),
        ("--model pop --fit-on all --device cpu", "--device, --fit-on", "pop"),
        ("--ease-l2 3", "--ease-l2", "opal"),
        (
            "--model comirec-sa --sharing 0.1 --evolution 0.5",
            "--evolution, --sharing",
            "comirec-sa",
        ),
        ("--model gru4rec --assignment-temperature 1", "--assignment-temperature", "gru4rec"),
        ("--model mind --attention on --next-item 0", "--attention, --next-item", "mind"),
    ],
)
def test_an_option_of_another_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str, names: str, model: str
) -> None:
    command = ["train", str(tmp_path), "--out", str(tmp_path / "run"), *options.split()]

    assert main(command) == 1
    assert capsys.readouterr().err == (
        f"error: {names}: --model {model} has no use for it; leave it out\n"
    )


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("--general 0 --general-len 5 --attention on", "--attention, --general-len"),
        ("--model sasrec --recipe paper --next-item 0.5", "--next-item"),
    ],
)
def test_an_option_that_others_make_useless_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str, names: str
) -> None:
    command = ["train", str(tmp_path), "--out", str(tmp_path / "run"), *options.split()]

    assert main(command) == 1
    assert capsys.readouterr().err == (
        f"error: {names}: of no use with the other options; leave it out\n"
    )


def test_yardsticks_stand_beside_opal_and_one_left_out_says_why(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(yardsticks, "AUTO_EASE_ITEMS", 10)
    steps = ["--max-steps", "1", "--batch-size", "4", "--k", "2", "--dim", "4"]

    assert main(["train", str(data), "--out", str(tmp_path / "run"), *steps]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": recall@10 ")[0] for line in lines[5:9]] == [
        "pop, valid",
        "pop, test",
        "itemknn, valid",
        "itemknn, test",
    ]
    assert lines[9].startswith("ease left out: ")
    assert lines[9].endswith("; --yardsticks pop,itemknn,ease measures all")


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ("none", []),
        ("pop", ["pop"]),
        ("ease,pop", ["pop", "ease"]),
        ("auto", ["pop", "itemknn", "ease"]),
    ],
)
def test_the_yardsticks_wanted_are_measured(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, names: list[str]
) -> None:
    steps = ["--max-steps", "1", "--batch-size", "4", "--k", "2", "--dim", "4"]
    run = tmp_path / "run"

    assert main(["train", str(data), "--out", str(run), *steps, "--yardsticks", option]) == 0
    assert list(read_run(run).manifest["yardsticks"]) == names
    assert "left out" not in capsys.readouterr().out


def test_what_was_trained_on_everything_says_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = ["--max-steps", "2", "--batch-size", "4", "--k", "2", "--dim", "4", "--averaging", "0"]
    run = tmp_path / "run"
    options = [*steps, "--fit-on", "all", "--yardsticks", "none"]

    assert main(["train", str(data), "--out", str(run), *options]) == 0
    stage = read_run(run).manifest["stage"]
    assert capsys.readouterr().out.splitlines()[4:] == [
        f"chosen by validation: {stage} stage",
        "trained anew on everything: 2 steps soft"
        + (", 2 steps hard" if stage == "hard" else "")
        + "; the figures are from before that",
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(data), "--out", str(tmp_path / "run"), "--device", "cuda"]) == 1
    assert "error: --device cuda: 0 GPU(s) here" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", ["0", "-1", "2.5", "many"])
def test_a_number_of_threads_that_cannot_be_is_wrong_usage(
    number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["train", "data", "--out", "run", "--threads", number])

    assert f"--threads: '{number}'; expected a number from 1" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["fast", "pop,fast", ""])
def test_an_unknown_yardstick_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "data", "--out", "run", "--yardsticks", option])
    expected = "expected auto, none, or some of pop,itemknn,ease"
    assert expected in capsys.readouterr().err


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


def test_help_loads_neither_torch_nor_scipy() -> None:
    code = (
        "import sys; from model.__main__ import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit as done:\n"
        "    sys.exit(done.code or 'torch' in sys.modules or 'scipy' in sys.modules)"
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
