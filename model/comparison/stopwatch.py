"""How long a training takes, over all the times that it is interrupted and goes on."""

import json
import logging
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.comparison.cell import TIME_FILE, read_seconds
from model.files import replace_file

_EVERY = 3.0
"""Seconds between notes: what a kill loses of the time, at most."""

logger = logging.getLogger(__name__)


@contextmanager
def measured(folder: Path) -> Iterator[None]:
    """Add the wall and processor seconds of this process to ``time.json`` while the context lasts.

    They are noted at once, every few seconds, and in the end.

    Steps that are taken again after a kill count again: that time was spent.

    Args:
        folder: The cell's.
    """
    before, begun, begun_cpu = read_seconds(folder), time.monotonic(), _cpu_seconds()

    def note() -> None:
        seconds = {
            "wall": before["wall"] + time.monotonic() - begun,
            "cpu": before["cpu"] + _cpu_seconds() - begun_cpu,
        }
        try:
            replace_file(folder / TIME_FILE, json.dumps(seconds) + "\n")
        except OSError as error:  # a full disk: the training itself may get through
            logger.warning("the time so far was not noted: %s", error)

    note()
    ended = threading.Event()

    def note_often() -> None:
        while not ended.wait(_EVERY):
            note()

    thread = threading.Thread(target=note_often, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        note()


def _cpu_seconds() -> float:
    """Processor seconds of this process, all threads, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
