"""Keeps N worker processes alive and stops them gently, on top of uvicorn's supervisor."""

import json
import logging
import os
import signal
import socket
import sys
import threading
from multiprocessing import parent_process

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.supervisors.multiprocess import Multiprocess, Process

_logger = logging.getLogger(__name__)


class Worker(Process):
    """uvicorn's worker process, which here does not outlive its parent."""

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Run in the worker: serve until told to stop, or until the parent is gone."""
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        super().target(sockets)


class Supervisor(Multiprocess):
    """uvicorn's supervisor, and what it leaves out: metrics of the dead, readiness, a clear end.

    Args:
        config: What workers run.
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
        drain_seconds: float,
        announcement: dict[str, str | int | None],
        as_json: bool,
    ) -> None:
        super().__init__(config, [listener])
        self._drain_seconds = drain_seconds
        self._announcement = announcement
        self._as_json = as_json
        self._announced = False
        self.failed = False

    def init_processes(self) -> None:
        """Start the workers."""
        self.processes = [self._start_worker() for _ in range(self.processes_num)]

    def keep_subprocess_alive(self) -> None:
        """Replace workers that died; give up if one cannot start before all have served."""
        for position, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if process.is_alive(timeout=self.config.timeout_worker_healthcheck):
                continue
            process.kill()
            process.join()
            if process.pid is not None:
                mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
            # A worker that ends by itself before all have served cannot start: a broken bundle or
            # installation. One that was killed (a negative code) can.
            if not self._announced and (process.exitcode or 0) > 0:
                self.failed = True
                self.should_exit.set()
                return
            # Once all have served, a bad CURRENT must not take the healthy workers along: the
            # new one tries until it can open it, and takes no connection before.
            _logger.error("worker %s died (%s); replaced", process.pid, process.exitcode)
            self.processes[position] = self._start_worker()
        if not self._announced and all(process.is_ready() for process in self.processes):
            self._announced = True
            self._announce()

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

    def _announce(self) -> None:
        url, version = self._announcement["url"], self._announcement["bundle_version"]
        _logger.info("serving %s on %s, its API on %s/docs", version or "no bundle yet", url, url)
        if self._as_json:
            sys.stdout.write(json.dumps(self._announcement) + "\n")
            sys.stdout.flush()


def _stop_with_parent() -> None:
    """Wait for the end of the parent; without it nobody would stop or replace this worker."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
