"""Training as a nightly job: real processes that are killed, stopped, resumed, and several at once.

Whatever happens on the way, the weights in the end are those of a run that nothing disturbed.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.data.dataset import prepare
from model.run import read_run_manifest
from tests.planted import PlantedLog

ROOT = Path(__file__).parents[2]
LOG = PlantedLog(n_users=300, n_categories=6, items_per_category=40, liked=2, length=20)
OPTIONS = [
    *("--k", "3", "--dim", "16", "--max-len", "20", "--batch-size", "64"),
    *("--learning-rate", "0.003", "--averaging", "0.9", "--device", "cpu"),
    *("--eval-every", "20", "--max-steps", "60", "--patience", "9"),
    *("--yardsticks", "none", "--fit-on", "all"),
]

MODULE = [sys.executable, "-m", "model"]
# With sparse gradients, their optimiser and the lazy moving average, as above 50,000 items.
SPARSE = [
    *(sys.executable, "-c"),
    "import sys; from model.training import recipe; from model.__main__ import main\n"
    "recipe.DENSE_ITEMS = 10\n"
    "sys.exit(main(sys.argv[1:]))",
]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

PROGRAMS = pytest.mark.parametrize("program", [MODULE, SPARSE], ids=["dense", "sparse"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    interactions, items = LOG.write(folder)
    prepare(interactions, folder / "data", items=items, split="user")
    return folder / "data"


@contextmanager
def started(command: Sequence[str | Path]) -> Iterator[subprocess.Popen[str]]:
    """Start a process whose output can be read; it does not outlive the context."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def train(program: Sequence[str], data: Path, out: Path, *options: str) -> list[str | Path]:
    return [*program, "train", data, "--out", out, *OPTIONS, *options]


def finish(command: Sequence[str | Path]) -> str:
    """Run a command to its end; return what stood on stdout."""
    with started(command) as process:
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return stdout


def signal_at(command: Sequence[str | Path], line: str, number: int) -> tuple[int, str, str]:
    """Send a signal when a line comes on stderr; return exit status, stdout, rest of stderr."""
    with started(command) as process:
        assert process.stderr is not None
        lines = []
        for told in process.stderr:
            lines.append(told)
            if re.search(line, told):
                break
        else:
            raise AssertionError(f"{line!r} did not come: {lines}")
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


def encoder_bytes(run: Path) -> bytes:
    return (run / "encoder.safetensors").read_bytes()


def points(run: Path, stage: str) -> dict[str, list[tuple[int, float]]]:
    """The curves that TensorBoard shows of a stage."""
    events = EventAccumulator(str(run / "tensorboard" / stage))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if not tag.startswith("speed/")
    }


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that nothing disturbed, by the program that made them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for name, program in (("dense", MODULE), ("sparse", SPARSE)):
        finish(train(program, data, folder / name))
    assert encoder_bytes(folder / "dense") != encoder_bytes(folder / "sparse")
    return {name: folder / name for name in ("dense", "sparse")}


def assert_same_run(run: Path, expected: Path) -> None:
    mine, theirs = read_run_manifest(run), read_run_manifest(expected)
    for name in ("stage", "stages", "curve", "refit", "metrics"):
        assert mine[name] == theirs[name]
    assert encoder_bytes(run) == encoder_bytes(expected)


# Each moment is met by a process that goes on where the one before it died.
MOMENTS = [
    "soft stage: ",
    "soft stage, step 20: ",
    "hard stage: ",
    "by length of history|soft stage on everything: ",
    "soft stage on everything, step 20: ",
]


@PROGRAMS
def test_killed_again_and_again_it_ends_with_the_same_weights(
    data: Path, tmp_path: Path, undisturbed: dict[str, Path], program: list[str]
) -> None:
    expected = undisturbed["dense" if program is MODULE else "sparse"]
    command = train(program, data, tmp_path / "run", "--resume")
    for moment in MOMENTS:
        status, _, _ = signal_at(command, moment, signal.SIGKILL)
        assert status == -signal.SIGKILL
    finish(command)

    assert_same_run(tmp_path / "run", expected)
    chosen = read_run_manifest(expected)["refit"]["steps"][
        "soft"
    ]  # by validation: BLAS has a say in it
    for stage, last in (("soft", 60), ("hard", 60), ("soft-all", chosen)):
        mine, theirs = points(tmp_path / "run", stage), points(expected, stage)
        assert mine == theirs
        steps = [step for step, _ in mine["loss/total"]]
        assert steps == list(range(20, last + 1, 20)), "none twice, none lost"


def test_stopped_it_exits_0_says_how_to_go_on_and_ends_with_the_same_weights(
    data: Path, tmp_path: Path, undisturbed: dict[str, Path]
) -> None:
    command = train(MODULE, data, tmp_path / "run", "--resume")
    for moment in ("soft stage: ", "hard stage, step 20: ", "soft stage on everything: "):
        status, stdout, stderr = signal_at(command, moment, signal.SIGTERM)
        assert (status, stdout.count("\n")) == (0, 1), stderr
        assert stdout.startswith("stopped by SIGTERM; ")
        assert "--resume" in stdout
        assert "Traceback" not in stderr
    finish(command)

    assert_same_run(tmp_path / "run", undisturbed["dense"])


def test_interrupted_at_the_terminal_it_saves_and_exits_1(
    data: Path, tmp_path: Path, undisturbed: dict[str, Path]
) -> None:
    command = train(MODULE, data, tmp_path / "run", "--resume")
    status, stdout, stderr = signal_at(command, "soft stage, step 20: ", signal.SIGINT)
    saved = json.loads((tmp_path / "run" / "checkpoints" / "latest.json").read_text())

    assert (status, stdout) == (1, "")
    assert "error: stopped by SIGINT; all is saved" in stderr
    assert saved["step"] >= 20
    finish(command)
    assert_same_run(tmp_path / "run", undisturbed["dense"])


def test_with_json_a_stop_is_one_document(data: Path, tmp_path: Path) -> None:
    command = train(MODULE, data, tmp_path / "run", "--json")
    status, stdout, _ = signal_at(command, "soft stage: ", signal.SIGTERM)

    assert status == 0
    assert json.loads(stdout)["stopped"].startswith("stopped by SIGTERM")


@pytest.fixture(scope="module")
def by_two(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run by two processes, and what stood on stdout."""
    run = tmp_path_factory.mktemp("two") / "run"
    stdout = finish(train([*TORCHRUN, "-m", "model"], data, run, "--json"))
    return run, json.loads(stdout)


def test_two_processes_reach_what_one_reaches(
    by_two: tuple[Path, dict[str, Any]], undisturbed: dict[str, Path]
) -> None:
    run, told = by_two
    one = read_run_manifest(undisturbed["dense"])

    assert told == read_run_manifest(run), "one of them tells, once"
    chance = 20 / (LOG.n_categories * LOG.items_per_category)
    for stage in ("soft", "hard"):
        for part in ("valid", "test"):
            mine = told["stages"][stage]["metrics"][part]["recall@20"]
            theirs = one["stages"][stage]["metrics"][part]["recall@20"]
            assert mine == pytest.approx(theirs, abs=0.05)  # four seeds differ by 0.045
            assert mine > 2.5 * chance


@PROGRAMS
def test_two_processes_keep_equal_weights(data: Path, tmp_path: Path, program: list[str]) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from safetensors.torch import save_file\n"
        "from model.training import recipe\n"
        "from model.config.training_config import TrainingConfig\n"
        "from model.data.dataset import Dataset\n"
        "from model.runtime.runtime import open_runtime\n"
        "from model.training.training import Training\n"
        f"recipe.DENSE_ITEMS = {50_000 if program is MODULE else 10}\n"
        "config = TrainingConfig(\n"
        "    k=3, dim=16, batch_size=64, eval_every=10, max_steps=20, neighbours=1.0, cut_draws=2\n"
        ")\n"
        "data, out = map(Path, sys.argv[1:])\n"
        "with open_runtime('cpu') as runtime:\n"
        "    training = Training(Dataset.open(data), config, out / 'checkpoints', runtime)\n"
        "    start = training.encoder.item_table.detach().clone()\n"
        "    training.run()\n"
        "    tensors = {**training.encoder.state_dict(), 'start': start}\n"
        "    save_file(tensors, out / f'{runtime.processes.rank}.safetensors')\n"
    )
    with started([*TORCHRUN, script, data, tmp_path]) as process:
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))

    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["start"], first["item_table"])


def test_two_processes_that_are_stopped_go_on_together(
    data: Path, tmp_path: Path, by_two: tuple[Path, dict[str, Any]]
) -> None:
    command = train([*TORCHRUN, "-m", "model"], data, tmp_path / "run", "--resume")
    for moment in ("soft stage: ", "hard stage, step 20"):
        # torchrun passes the signal on; its own exit status tells of the signal.
        _, stdout, stderr = signal_at(command, moment, signal.SIGTERM)
        assert stdout.count("stopped by SIGTERM") == 1, stderr
    with started(train(MODULE, data, tmp_path / "run", "--resume")) as alone:
        _, refused = alone.communicate(timeout=60)
    assert alone.returncode == 1
    assert "made by 2 process(es), now there are 1; resume with torchrun" in refused
    finish(command)

    assert_same_run(tmp_path / "run", by_two[0])


def test_a_batch_that_two_processes_cannot_share_is_refused(data: Path, tmp_path: Path) -> None:
    command = train([*TORCHRUN, "-m", "model"], data, tmp_path / "run", "--batch-size", "63")
    with started(command) as process:
        _, stderr = process.communicate(timeout=60)

    assert process.returncode == 1
    told = "error: --batch-size is 63; expected a multiple of the 2 processes\n"
    assert stderr.count(told) == 1
    assert "Traceback" not in stderr.partition("ChildFailedError")[0].partition(told)[0]
