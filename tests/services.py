"""The service for tests: in this process without a socket, or as real processes over HTTP."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from starlette.types import Receive, Scope, Send

from service.app import create_app
from service.settings import Settings
from service.web.dependencies import State

REPOSITORY = Path(__file__).parent.parent
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0


@dataclass(frozen=True)
class InProcess:
    """An application whose lifespan runs, and a client that calls it directly."""

    client: httpx.AsyncClient
    state: State


@asynccontextmanager
async def service_in_process(registry: Path, **settings: Any) -> AsyncIterator[InProcess]:
    """Run the application in this process, on the test's event loop, without a socket."""
    app = create_app(Settings(registry=registry, **settings))
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"] = dict(state or {})  # what uvicorn does
            await app(scope, receive, send)

        transport = httpx.ASGITransport(with_state)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield InProcess(client, state)  # type: ignore[arg-type] # FastAPI does not type it


def service_environment(**settings: Any) -> dict[str, str]:
    """Return the environment of a service process: this one's, without settings of its own."""
    inherited = {name: value for name, value in os.environ.items() if "OPAL_" not in name}
    inherited.pop("PROMETHEUS_MULTIPROC_DIR", None)
    given = {f"OPAL_{name.upper()}": str(value) for name, value in settings.items()}
    return inherited | {"PYTHONPATH": str(REPOSITORY)} | given


class ServiceProcess:
    """``python -m service`` as a person starts it; ``with`` waits until all workers serve.

    Args:
        registry: What to serve.
        log: File for its stderr.
        workers: Worker processes.
        settings: More settings, by field name.
    """

    def __init__(self, registry: Path, log: Path, *, workers: int = 2, **settings: Any) -> None:
        self._log = log
        self._arguments = ["--registry", str(registry), "--workers", str(workers), "--port", "0"]
        self._environment = service_environment(**{"drain_seconds": 0, **settings})
        # A service that a test kills cannot put away its folder of metrics.
        self._environment["TMPDIR"] = str(log.parent)
        self.url = ""

    def __enter__(self) -> "ServiceProcess":
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service", "--json", *self._arguments],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], _START_SECONDS)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            raise RuntimeError(f"the service did not start:\n{self.log()}")
        self.announcement: dict[str, Any] = json.loads(line)
        self.url = self.announcement["url"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask it to stop, wait, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()
        return status

    def log(self) -> str:
        """Return what it has written to stderr."""
        return self._log.read_text()

    def worker_pids(self) -> set[int]:
        """Return the processes that are its workers now."""
        children = {pid: command_line(pid) for pid in children_of(self.process.pid)}
        # Workers are forked from a process of their own (service.processes.preloaded).
        forking = [pid for pid, command in children.items() if "forkserver" in command]
        return {worker for pid in forking for worker in children_of(pid)}

    def metrics(self) -> str:
        """Return all metrics of all workers, as Prometheus gets them."""
        return httpx.get(f"{self.url}/metrics").text

    def metric(self, series: str) -> float:
        """Return the value of a series, 0 where it does not exist yet."""
        for line in self.metrics().splitlines():
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        return 0.0


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started and not yet waited for."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:  # it has ended
        return []


def command_line(pid: int) -> str:
    """Return the command of a process, empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except FileNotFoundError:
        return ""


def wait_until(condition: Any, *, seconds: float = 10.0, what: str = "it") -> None:
    """Wait until ``condition()`` is true.

    Raises:
        AssertionError: It did not become true in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)
