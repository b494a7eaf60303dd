"""Run cells, each in a process of its own, some at a time.

Each process has one thread: a training's steps are small, and two of them on two cores are faster
than one on both. Processes are in groups of their own, so that an interrupt from the terminal
reaches them once, through the one that started them.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from model.comparison.cell import FAILED_FILE, LOG_FILE, Cell
from model.errors import OpalError
from model.runtime.interruption import Interruption, listen

_POLL = 0.1  # seconds
_THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A cell that is being run."""

    cell: Cell
    process: subprocess.Popen[bytes]
    begun: float


def run_cells(cells: Sequence[Cell], out: Path, *, jobs: int, device: str) -> dict[Path, str]:
    """Run those that are not finished; one that fails says so in its folder, and the others go on.

    Args:
        cells: All of them.
        out: The comparison's folder.
        jobs: How many at a time.
        device: See ``model.runtime.device.choose_device``.

    Returns:
        Why cells failed, by folder; where the disk is full, no folder says it.

    Raises:
        OpalError: A signal came. What was under way has saved what it needs to go on.
    """
    waiting = deque(cell for cell in cells if not cell.is_finished)
    counter = _Counter(n_cells=len(cells), n_left=len(waiting), jobs=jobs)
    if len(waiting) < len(cells):
        logger.info("%d of %d cells are finished already", len(cells) - len(waiting), len(cells))
    running: list[Job] = []
    failed: dict[Path, str] = {}
    with listen(deferred=True) as interruption, _stopped_in_the_end(running):
        while waiting or running:
            _refuse_when_asked(interruption)
            while waiting and len(running) < jobs:
                cell, begun = waiting.popleft(), time.monotonic()
                try:
                    running.append(_start(cell, out, device))
                except OSError as error:  # a full disk, no more processes: the next may get through
                    failed[cell.folder] = _fail(cell, f"cannot be begun: {error}")
                    counter.count(cell, begun, f"failed: {failed[cell.folder]}")
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                if why := _conclude(job):
                    failed[job.cell.folder] = _fail(job.cell, why)
                    counter.count(job.cell, job.begun, f"failed: {why}")
                else:
                    counter.count(job.cell, job.begun, _describe(job.cell))
            time.sleep(_POLL)
    return failed


class _Counter:
    """Says which cell ended, and how long the rest may take."""

    def __init__(self, *, n_cells: int, n_left: int, jobs: int) -> None:
        self._n_cells, self._n_left, self._jobs = n_cells, n_left, jobs
        self._seconds: list[float] = []

    def count(self, cell: Cell, begun: float, outcome: str) -> None:
        """Log a cell's end.

        Args:
            cell: What has ended.
            begun: When it began, by the monotonic clock.
            outcome: How it ended.
        """
        self._n_left -= 1
        self._seconds.append(time.monotonic() - begun)
        each = sum(self._seconds) / len(self._seconds)
        # Cells differ: the mean of those so far is no more than a guess.
        left = each * self._n_left / min(self._jobs, max(self._n_left, 1))
        logger.info(
            "cell %d of %d: %s: %s, %s; about %s left",
            self._n_cells - self._n_left,
            self._n_cells,
            cell.label,
            outcome,
            tqdm.format_interval(self._seconds[-1]),
            tqdm.format_interval(left),
        )


def _start(cell: Cell, out: Path, device: str) -> Job:
    cell.begin()
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "model.comparison.work",
        cell.folder,
        device,
        out,
    ]
    with (cell.folder / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **_THREADS},
            start_new_session=True,
        )
    return Job(cell, process, time.monotonic())


def _conclude(job: Job) -> str:
    """Return why a cell failed; empty where it is finished."""
    _close(job)
    if job.process.returncode == 0:
        return job.cell.damage()
    error = _last_line(job.cell.folder / LOG_FILE)
    if job.process.returncode < 0:
        return f"ended by {signal.Signals(-job.process.returncode).name}; last line: {error}"
    return error


def _fail(cell: Cell, error: str) -> str:
    """Write down why a cell failed, if that can be; return it."""
    try:
        cell.fail(error)
    except OSError as another:
        logger.warning("%s: cannot be written: %s", cell.folder / FAILED_FILE, another)
    return error


def _describe(cell: Cell) -> str:
    recall = cell.measures()["test"].get("recall@50")
    return "no users to measure" if recall is None else f"recall@50 {recall:.4f}"


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").split("\n")
    except OSError as error:
        return f"its log cannot be read: {error}"
    said = [line.strip() for line in lines if line.strip()]
    return said[-1].removeprefix("error: ") if said else "it said nothing"


def _refuse_when_asked(interruption: Interruption) -> None:
    if interruption.requested is not None:
        raise OpalError(
            f"stopped by {interruption.requested.name}; finished cells are kept, and those under "
            "way go on from their last step with the same command"
        )


@contextmanager
def _stopped_in_the_end(running: list[Job]) -> Iterator[None]:
    """Leave no process behind: what still runs is asked to save, and waited for."""
    try:
        yield
    finally:
        for job in running:
            job.process.send_signal(signal.SIGTERM)
        for job in running:
            job.process.wait()
            _close(job)


def _close(job: Job) -> None:
    if job.process.stdin is not None:
        job.process.stdin.close()
