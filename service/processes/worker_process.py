"""A worker process: how its parent starts it, what it does first, and how it ends."""

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from multiprocessing import get_context, parent_process
from pathlib import Path

import uvicorn
from uvicorn._subprocess import subprocess_started
from uvicorn.supervisors.multiprocess import Process

from service.monitoring.metric_files import count_as_this_process
from service.monitoring.metrics_folder import VARIABLE as METRICS_VARIABLE
from service.monitoring.metrics_folder import hold
from service.processes.held_signals import act_on_signals, held_signals
from service.processes.worker_server import WorkerServer

# What multiprocessing says of a process of which its fork server could tell nothing.
_LOST = 255
_LOST_CHECK = 0.05  # seconds
_FORKING_PAUSES = (0.1, 0.3, 1.0)  # seconds

# Workers are forked from a process that has only imported what they need: it has neither threads
# nor connections, which could not be forked.
_fork_server = get_context("forkserver")
_fork_server.set_forkserver_preload(["service.processes.preloaded"])


class Worker(Process):
    """uvicorn's worker process, which here is forked and does not outlive its parent.

    Args:
        config: What it runs.
        sockets: Which it serves.

    Attributes:
        started: ``time.monotonic()`` of its start.
    """

    started = 0.0

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        # In the place of one that would import everything anew.
        self.process = _fork_server.Process(  # type: ignore[assignment] # of another start method
            target=subprocess_started,
            kwargs={
                "config": config,
                "target": self.target,
                "sockets": sockets,
                "stdin_fileno": None,
            },
        )

    def start(self) -> None:
        """Start the process."""
        self.started = time.monotonic()
        with held_signals():
            for pause in _FORKING_PAUSES:
                with suppress(EOFError, ConnectionError):
                    super().start()
                    return
                # Somebody killed the process that forks; there will be a new one.
                time.sleep(pause)
            super().start()

    @property
    def is_lost(self) -> bool:
        """Whether the process that forked it ended first, so that nobody heard how it ended."""
        return self.process.exitcode == _LOST

    def end_if_lost(self, seconds: float) -> None:
        """Stop a worker that nobody waits for any more, and wait until it is gone.

        Args:
            seconds: That it gets to finish what is in flight.
        """
        if not self.is_lost or self.pid is None:
            return
        deadline = time.monotonic() + seconds
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
            while _runs(self.pid):
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(_LOST_CHECK)

    @property
    def server(self) -> uvicorn.Server:
        """What serves in the worker."""
        if self._server is None:
            self._server = WorkerServer(self.config)
        return self._server

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Run in the worker: serve until told to stop, or until the parent is gone."""
        act_on_signals()
        # A worker may live longer than the parent that made the folder, which was killed.
        hold(Path(os.environ[METRICS_VARIABLE]))
        count_as_this_process()
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        super().target(sockets)


def _runs(pid: int) -> bool:
    """Tell whether a process that is no child of this one runs: an ended one may wait for init."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def _stop_with_parent() -> None:
    """Wait for the end of the parent; without it nobody would stop or replace this worker."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
