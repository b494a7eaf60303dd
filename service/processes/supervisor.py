"""Keeps N worker processes alive and stops them gently, on top of uvicorn's supervisor."""

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import uvicorn
from uvicorn.supervisors.multiprocess import Multiprocess

from service.monitoring.metric_files import retire
from service.processes.worker_process import Worker

# Seconds. A worker that dies younger than this is replaced after a pause that doubles, so that
# one that cannot live does not keep a core busy with starting.
_SETTLED_AGE = 10.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
# A worker opens and checks its bundle before it serves.
_START_SECONDS = 120.0
# What is in flight in a worker that nobody waits for gets to finish, where no limit is set.
_LOST_SECONDS = 30.0

_logger = logging.getLogger(__name__)


class Supervisor(Multiprocess):
    """uvicorn's supervisor, and what it leaves out: metrics of the dead, readiness, a clear end.

    Args:
        config: What workers run.
        metrics_path: Folder in which workers leave their metrics.
        listener: The socket that they share.
        drain_seconds: Seconds between telling balancers and stopping, on SIGTERM.
        announcement: What to tell once all workers serve.
        as_json: Tell it on stdout.

    Attributes:
        failed: No worker could start.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        *,
        metrics_path: Path,
        drain_seconds: float,
        announcement: dict[str, str | int | None],
        as_json: bool,
    ) -> None:
        super().__init__(config, [listener])
        self.processes: list[Worker] = []  # type: ignore[assignment] # all are started here
        self._metrics_path = metrics_path
        self._drain_seconds = drain_seconds
        self._announcement = announcement
        self._as_json = as_json
        self._announced = False
        self._pauses = [Pause() for _ in range(self.processes_num)]
        self.failed = False

    def init_processes(self) -> None:
        """Start the workers."""
        self.processes = [self._start_worker() for _ in range(self.processes_num)]

    def keep_subprocess_alive(self) -> None:
        """Replace workers that died; give up if one cannot start before all have served."""
        for position, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            pause = self._pauses[position]
            if pause.due is not None:
                self._fill(position)
                continue
            if process.is_alive(timeout=self.config.timeout_worker_healthcheck):
                continue
            process.kill()
            self._bury(process)
            # A worker that ends by itself before all have served cannot start: a broken bundle or
            # installation. One that was killed (a negative code) can.
            if not self._announced and (process.exitcode or 0) > 0 and not process.is_lost:
                self.failed = True
                self.should_exit.set()
                return
            # Once all have served, a bad CURRENT must not take the healthy workers along: the
            # new one tries until it can open it, and takes no connection before.
            seconds = pause.begin(time.monotonic() - process.started)
            _logger.error(
                "worker %s died (%s); replaced in %.3g s", process.pid, process.exitcode, seconds
            )
            self._fill(position)
        if not self._announced and all(process.is_ready() for process in self.processes):
            self._announced = True
            self._announce()

    def restart_all(self) -> None:
        """Replace each worker (SIGHUP): the new one serves before the old one is told to stop.

        A worker that cannot start ends it; those that are left go on.
        """
        for position, old in enumerate(self.processes):
            new = self._start_worker()
            if not self._wait_until_ready(new):
                new.kill()
                self._bury(new)
                _logger.error("worker %s did not start; worker %s stays", new.pid, old.pid)
                return
            self.processes[position] = new
            self._pauses[position] = Pause()
            old.terminate()
            self._bury(old)

    def handle_ttin(self) -> None:
        """Ignore SIGTTIN: OPAL_WORKERS says how many workers there are."""
        _logger.warning("the number of workers is OPAL_WORKERS; signal ignored")

    def handle_ttou(self) -> None:
        """Ignore SIGTTOU, as SIGTTIN."""
        self.handle_ttin()

    def handle_term(self) -> None:
        """Tell balancers through ``/readyz``, go on serving for a while, then stop."""
        for process in self.processes:
            if process.pid is not None and process.exitcode is None:
                os.kill(process.pid, signal.SIGUSR1)
        threading.Event().wait(self._drain_seconds)
        super().handle_term()

    def terminate_all(self) -> None:
        """Stop the workers; first stop listening, so that no new connection waits for nobody."""
        for each in self.sockets:
            each.close()
        super().terminate_all()

    def _start_worker(self) -> Worker:
        worker = Worker(self.config, self.sockets)
        worker.start()
        return worker

    def _fill(self, position: int) -> None:
        """Start a worker in the place of a dead one, once the pause is over."""
        pause = self._pauses[position]
        if pause.due is not None and time.monotonic() >= pause.due:
            pause.due = None
            self.processes[position] = self._start_worker()

    def _bury(self, process: Worker) -> None:
        """Wait for the end of a worker and keep what it has counted."""
        process.join()
        process.end_if_lost(self.config.timeout_graceful_shutdown or _LOST_SECONDS)
        if process.pid is not None:
            retire(self._metrics_path, process.pid)

    def _wait_until_ready(self, worker: Worker) -> bool:
        """Wait for a worker to serve; not any longer when it ended or all are to stop."""
        deadline = time.monotonic() + _START_SECONDS
        while worker.exitcode is None and time.monotonic() < deadline:
            if {signal.SIGTERM, signal.SIGINT} & set(self.signal_queue):
                return False
            if worker.wait_until_ready(0.5, self.should_exit):
                return True
        return False

    def _announce(self) -> None:
        url, version = self._announcement["url"], self._announcement["bundle_version"]
        _logger.info("serving %s on %s, its API on %s/docs", version or "no bundle yet", url, url)
        if self._as_json:
            sys.stdout.write(json.dumps(self._announcement) + "\n")
            sys.stdout.flush()


class Pause:
    """How long the place of a worker that died stays empty.

    Attributes:
        due: ``time.monotonic()`` at which it is to be filled; None while a worker is there.
    """

    def __init__(self) -> None:
        self.due: float | None = None
        self._early_deaths = 0

    def begin(self, age: float) -> float:
        """Begin a pause for a worker that lived for ``age`` seconds; return its length in s."""
        self._early_deaths = self._early_deaths + 1 if age < _SETTLED_AGE else 0
        seconds = 0.0
        if self._early_deaths:
            seconds = min(_FIRST_PAUSE * 2.0 ** (self._early_deaths - 1), _LONGEST_PAUSE)
        self.due = time.monotonic() + seconds
        return seconds
