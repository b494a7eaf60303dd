"""The servers that ``bench_service`` loads: real processes on free ports of the loopback."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.bench.load_plan import Plan
from tests.bench.outcome import Outcome
from tests.bench.processes import running
from tests.redis_server import free_port
from tests.services import REPOSITORY, ServiceProcess, service_environment

START_SECONDS = 90.0
LOAD_GRACE_SECONDS = 60.0
HOST = "127.0.0.1"

Address = tuple[str, int]


class DidNotStartError(Exception):
    """A server did not start; tells what it wrote."""


@contextmanager
def running_service(registry: Path, *, workers: int, **settings: Any) -> Iterator[Address]:
    """Run ``python -m service``; give its address once all workers serve.

    Args:
        registry: What it serves.
        workers: Processes.
        settings: More, by field name.
    """
    log = registry.parent / "service.log"
    with ServiceProcess(registry, log, workers=workers, **settings) as service:
        url = urlsplit(service.url)
        assert url.hostname is not None
        assert url.port is not None
        yield url.hostname, url.port


@contextmanager
def running_app(factory: str, log: Path, *, workers: int, **variables: str) -> Iterator[Address]:
    """Run an application of ``plain_service`` under uvicorn, set up as the service's own.

    Args:
        factory: The function that makes it.
        log: File for what it writes.
        workers: Processes that share the port.
        variables: Its environment.
    """
    port = free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "--factory", f"tests.bench.plain_service:{factory}"),
        *("--host", HOST, "--port", str(port), "--workers", str(workers)),
        *("--loop", "uvloop", "--http", "httptools", "--ws", "none"),
        *("--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "3"),
    ]
    with running(command, log, environment=service_environment() | variables) as process:
        _wait_for_workers(process, log, workers)
        yield HOST, port


@contextmanager
def running_server(
    command: Sequence[str], log: Path, address: Address, *, trial: Plan, variables: dict[str, str]
) -> Iterator[Address]:
    """Run any server, and wait until it answers a request well.

    Args:
        command: Program and arguments.
        log: File for what it writes.
        address: Where it will listen.
        trial: What to ask it.
        variables: Its environment, besides this process's.

    Raises:
        DidNotStartError: It ended, or did not answer in time.
    """
    trial = replace(trial, connections=1, requests=1, seconds=1.0)
    with running(command, log, environment=service_environment() | variables) as process:
        deadline = time.monotonic() + START_SECONDS
        while not load(trial).latencies:
            if process.poll() is not None or time.monotonic() > deadline:
                raise DidNotStartError(log.read_text(errors="replace")[-1000:])
            time.sleep(0.2)
        yield address


def load(plan: Plan) -> Outcome:
    """Load a server from a process of its own; see ``load``."""
    with start_load(plan) as loading:
        return loading.outcome()


class Loading:
    """A load under way; ``with`` ends it early where something goes wrong.

    Args:
        plan: What is sent.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __enter__(self) -> "Loading":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.load"],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(asdict(self._plan)))
        self._process.stdin.close()
        self._process.stdin = None  # ``communicate`` would close it again
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def outcome(self) -> Outcome:
        """Wait for its end, and return what it met."""
        written, _ = self._process.communicate(timeout=self._plan.seconds + LOAD_GRACE_SECONDS)
        if self._process.returncode:
            raise RuntimeError(f"the load generator ended with {self._process.returncode}")
        return Outcome(**orjson.loads(written))


def start_load(plan: Plan) -> Loading:
    """Load a server meanwhile."""
    return Loading(plan)


def _wait_for_workers(process: subprocess.Popen[bytes], log: Path, workers: int) -> None:
    """Wait until each worker has said that it serves; the port answers before all do."""
    deadline = time.monotonic() + START_SECONDS
    while log.read_bytes().count(b"Application startup complete") < workers:
        if process.poll() is not None or time.monotonic() > deadline:
            raise DidNotStartError(f"the application did not start:\n{log.read_text()}")
        time.sleep(0.05)
