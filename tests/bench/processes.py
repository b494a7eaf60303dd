"""Processes that the benchmarks start: ended with all that they have started.

Some servers leave daemons behind that are nobody's children any more. All that a command starts
inherits its environment, so a mark in there tells to whom a process belongs.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.services import REPOSITORY

STOP_SECONDS = 10.0
_MARK = "BENCH_PROCESS"


def end_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does: with all that it has started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextmanager
def running(
    command: Sequence[str], log: Path, *, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command; end it and all that it has started in the end.

    Args:
        command: Program and arguments.
        log: File for what it writes.
        environment: All of it.
    """
    mark = uuid.uuid4().hex
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment | {_MARK: mark},
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the benchmark, which ends them in order
        )
    try:
        yield process
    finally:
        _end(process, mark)


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """End a process politely, then all that is left of it for good."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    deadline = time.monotonic() + STOP_SECONDS
    while left := marked(mark):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes that do not end: {left}")
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.poll()
        time.sleep(0.02)
    process.wait()


def marked(mark: str) -> list[int]:
    """Return the processes, whoever their parents are, that carry a mark."""
    wanted, found = f"{_MARK}={mark}".encode(), []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if wanted in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
    return found
