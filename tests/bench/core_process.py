"""A core in a process of its own: batches in a plain loop, as many as there is time for.

    python -m tests.bench.core_process CORE BUNDLE

Lines of JSON on stdin: first all requests, then commands ``{"batch": …, "seconds": …}``; each is
answered by a line with users and seconds. ``CoreProcesses`` is the other end.
"""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from tests.bench.peers.core import BUNDLE_VARIABLE, CORE_VARIABLE, load_core, to_json
from tests.services import REPOSITORY


class CoreProcesses:
    """Processes that compute side by side; ``with`` starts and ends them.

    Args:
        core: "plain" or "ours".
        bundle: The bundle's folder.
        requests: Bodies, as JSON.
        n: How many processes.
    """

    def __init__(self, core: str, bundle: Path, requests: list[str], *, n: int) -> None:
        self._arguments = [core, str(bundle)]
        self._requests, self._n = requests, n
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "CoreProcesses":
        command = [sys.executable, "-m", "tests.bench.core_process", *self._arguments]
        try:
            for _ in range(self._n):
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    cwd=REPOSITORY,
                    env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
                )
                self._processes.append(process)
            self._ask([self._requests] * self._n)  # answered when all are ready
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def speed(self, *, batch: int, seconds: float) -> float:
        """Compute in all processes at once; return users per second of all together."""
        answers = self._ask([{"batch": batch, "seconds": seconds}] * self._n)
        return math.fsum(answer["users"] / answer["seconds"] for answer in answers)

    def _ask(self, messages: Sequence[Any]) -> list[Any]:
        for process, message in zip(self._processes, messages, strict=True):
            assert process.stdin is not None
            process.stdin.write(orjson.dumps(message) + b"\n")
            process.stdin.flush()
        answers = []
        for process in self._processes:
            assert process.stdout is not None
            answers.append(orjson.loads(process.stdout.readline()))
        return answers


def compute(
    answer: Callable[[Sequence[dict[str, Any]]], list[Any]],
    requests: Sequence[dict[str, Any]],
    batch: int,
    seconds: float,
) -> dict[str, float]:
    """Answer batch after batch, to bytes, until the time is over."""
    users, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < seconds:
        start = users % len(requests)
        for each in answer(requests[start : start + batch]):
            to_json(each)
            users += 1
    return {"users": users, "seconds": passed}


def serve(commands: IO[bytes], answers: IO[bytes]) -> None:
    """Carry out commands until there are no more."""
    requests = [orjson.loads(body) for body in orjson.loads(commands.readline())]
    core = load_core()
    core(requests[:1])  # what is made at the first call

    def say(message: Any) -> None:
        answers.write(orjson.dumps(message) + b"\n")
        answers.flush()

    say("ready")
    for line in commands:
        say(compute(core, requests, **orjson.loads(line)))


if __name__ == "__main__":
    os.environ[CORE_VARIABLE], os.environ[BUNDLE_VARIABLE] = sys.argv[1:]
    serve(sys.stdin.buffer, sys.stdout.buffer)
