"""What the process of one cell does: ``python -m model.comparison.work CELL DEVICE OUT``.

It reads ``cell.json``, trains or goes on training, and measures. SIGTERM and SIGINT stop it with a
checkpoint, and so does the death of the process that started it, which holds the other end of its
stdin.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from model.baselines.yardstick_run import fit_yardstick
from model.command import fail
from model.comparison.cell import CELL_FILE, RUN_FOLDER, Cell, restore_cell
from model.comparison.measuring import measure_cell
from model.comparison.reference import open_reference
from model.comparison.stopwatch import measured
from model.data.dataset import Dataset
from model.errors import InputError, OpalError
from model.files import locked, read_json_object
from model.run import RUN_FILE
from model.runtime.interruption import Stopped
from model.runtime.memory import keep_freed_memory
from model.runtime.runtime import open_runtime
from model.training.fit import fit

REFERENCE_FILE = "reference.npz"

_PATIENCE = 120.0
"""Seconds that a process of an earlier command, which is just saving, is waited for."""


def main(arguments: list[str]) -> int:
    """Run one cell; return the exit status."""
    folder, device, out = Path(arguments[0]), arguments[1], Path(arguments[2])
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    torch.set_num_threads(1)
    keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with _claimed(folder):
            _run(restore_cell(folder, read_json_object(folder / CELL_FILE)), device, out)
    except (OpalError, OSError, Stopped) as error:
        return fail(str(error))
    return 0


def _run(cell: Cell, device: str, out: Path) -> None:
    run = cell.folder / RUN_FOLDER
    with open_runtime(device) as runtime:
        if not (run / RUN_FILE).exists():  # else it is to be measured only, which is no training
            with measured(cell.folder):
                if cell.config is None:
                    fit_yardstick(cell.dataset, run, cell.model, resume=True)
                else:
                    fit(cell.dataset, run, cell.config, resume=True, yardsticks=(), runtime=runtime)
        dataset = Dataset.open(cell.dataset)
        reference = open_reference(dataset, out / dataset.path.resolve().name / REFERENCE_FILE)
        measure_cell(cell, dataset, reference)


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Keep other processes out of a cell."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        with locked(folder) as mine:
            if mine:
                yield
                return
        if time.monotonic() > deadline:
            raise InputError(f"{folder}: another process is at work there")
        time.sleep(0.5)


def _end_with_parent() -> None:
    """Ask this process to stop when its parent is gone."""
    os.read(sys.stdin.fileno(), 1)  # not by a buffer, whose lock would be held at the exit
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
