"""The servers that ``bench_service`` loads: real processes on free ports of the loopback."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bench.load import Outcome
from tests.services import REPOSITORY, ServiceProcess, service_environment

START_SECONDS = 60.0
STOP_SECONDS = 15.0
LOAD_GRACE_SECONDS = 60.0

Address = tuple[str, int]


@contextmanager
def running_service(registry: Path, *, workers: int, cache: bool) -> Iterator[Address]:
    """Run ``python -m service``; give its address once all workers serve."""
    log = registry.parent / f"service-{workers}-{cache}.log"
    ttl = 300 if cache else 0
    with ServiceProcess(registry, log, workers=workers, cache_ttl=ttl) as service:
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
    port = _free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "--factory", f"tests.bench.plain_service:{factory}"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)),
        *("--loop", "uvloop", "--http", "httptools", "--ws", "none"),
        *("--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "3"),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=service_environment() | variables,
            cwd=REPOSITORY,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for_workers(process, log, workers)
        yield "127.0.0.1", port
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def load(
    address: Address, bodies: list[str], *, connections: int, seconds: float, requests: int
) -> Outcome:
    """Load a server from a process of its own; see ``load.run``."""
    plan: dict[str, Any] = {
        "host": address[0],
        "port": address[1],
        "path": "/match",
        "bodies": bodies,
        "connections": connections,
        "seconds": seconds,
        "requests": requests,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"],
        input=json.dumps(plan),
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=seconds + LOAD_GRACE_SECONDS,
        check=True,
    )
    return Outcome(**json.loads(done.stdout))


def _wait_for_workers(process: subprocess.Popen[bytes], log: Path, workers: int) -> None:
    """Wait until each worker has said that it serves; the port answers before all do."""
    deadline = time.monotonic() + START_SECONDS
    while log.read_bytes().count(b"Application startup complete") < workers:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the application did not start:\n{log.read_text()}")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
