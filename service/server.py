"""The parent process: checks, binds the port, keeps N workers alive, stops them gently.

Serves nothing itself. A worker is a fresh process that imports ``service.app`` and shares the
parent's socket; uvicorn's supervisor starts and watches them.
"""

import json
import logging.config
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from model.errors import InputError, OpalError, RegistryError
from service.logs import log_config
from service.settings import Settings

# Every library that would start as many threads as there are cores, in each worker.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "POLARS_MAX_THREADS",
)

_BACKLOG = 2048

_logger = logging.getLogger(__name__)


def serve(settings: Settings, *, as_json: bool = False) -> int:
    """Serve until SIGTERM or SIGINT and return the exit status.

    Args:
        settings: What to serve and where; workers get them by the environment.
        as_json: Tell the address as one JSON document on stdout once all workers serve.

    Raises:
        InputError: The address cannot be listened on.
        RegistryError: The registry has no bundle to serve.
        BundleError: That bundle must not go live.
    """
    listener = bind(settings.host, settings.port)
    with listener, metrics_folder() as folder:
        os.environ.update(worker_environment(settings, folder))
        version = check_apart(settings)
        logging.config.dictConfig(log_config(settings.log_level))
        config = uvicorn.Config(
            "service.app:create_app",
            factory=True,
            workers=settings.workers,
            loop="uvloop",
            http="httptools",
            ws="none",
            backlog=_BACKLOG,
            access_log=False,
            server_header=False,
            log_config=log_config(settings.log_level),
            timeout_graceful_shutdown=settings.shutdown_timeout,
        )
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        announcement: dict[str, str | int | None] = {
            "url": url,
            "workers": settings.workers,
            "bundle_version": version,
        }
        supervisor = Supervisor(
            config, listener, drain_seconds=settings.drain_seconds, announcement=announcement,
            as_json=as_json,
        )  # fmt: skip
        supervisor.run()
        return 1 if supervisor.failed else 0


def bind(host: str, port: int) -> socket.socket:
    """Listen on an address.

    Raises:
        InputError: It is taken, not ours, or no address.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # From here on a second service finds the port taken, not only once a worker listens.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def check_apart(settings: Settings) -> str | None:
    """Open the live bundle in a process of its own, so that this one stays small.

    Returns:
        Its version; None where the service may wait for one.

    Raises:
        RegistryError: The registry has no bundle to serve.
        BundleError: That bundle must not go live.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        try:
            return process.submit(check_registry, settings.registry).result()
        except OpalError:
            if settings.wait_for_bundle:
                return None
            raise


def check_registry(path: Path) -> str:
    """Open the live bundle of a registry and return its version; raises as ``check_apart``."""
    from index.bundle import open_bundle
    from index.registry import Registry

    if not path.is_dir():
        raise RegistryError(
            f"{path}: no such folder; publish a bundle with `python -m index publish BUNDLE "
            f"--registry {path}`, or start with --wait-for-bundle"
        )
    registry = Registry(path)
    version = registry.current()
    if version is None:
        raise RegistryError(
            f"{path}: has no CURRENT; `python -m index activate VERSION --registry {path}`, or "
            "start with --wait-for-bundle"
        )
    return open_bundle(registry.bundle_path(version)).version


def _cannot_listen(host: str, port: int, error: OSError) -> InputError:
    return InputError(
        f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port"
    )


def worker_environment(settings: Settings, metrics_path: Path) -> dict[str, str]:
    """Return the environment that workers need before they import anything."""
    options = {
        "OPAL_REGISTRY": str(settings.registry.resolve()),
        "OPAL_HOST": settings.host,
        "OPAL_PORT": str(settings.port),
        "OPAL_WORKERS": str(settings.workers),
        "OPAL_WAIT_FOR_BUNDLE": str(settings.wait_for_bundle).lower(),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics_path),
    }
    return options | dict.fromkeys(THREAD_VARIABLES, str(settings.threads))


@contextmanager
def metrics_folder() -> Iterator[Path]:
    """Make the folder in which workers leave their metrics; empty at start, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="opal-metrics-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
        """Replace workers that died; give up only if none ever served."""
        for position, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if process.is_alive(timeout=self.config.timeout_worker_healthcheck):
                continue
            process.kill()
            process.join()
            if process.pid is not None:
                mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
            if process.exitcode == STARTUP_FAILURE and not self._announced:
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
