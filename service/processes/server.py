"""The parent process: checks, binds the port, prepares what workers need, hands over.

Serves nothing itself. A worker is a fresh process that imports ``service.app`` and shares the
parent's socket; ``supervisor`` starts and watches them.
"""

import logging.config
import os
import signal
import socket
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import uvicorn

from index.takedowns.takedown_file import TakedownFile
from model.errors import InputError, OpalError, RegistryError
from service.monitoring.logs import log_config
from service.monitoring.metrics_folder import VARIABLE as METRICS_VARIABLE
from service.monitoring.metrics_folder import metrics_folder
from service.processes.held_signals import held_signals
from service.processes.supervisor import Supervisor
from service.redis_url import check_redis_url
from service.settings import Settings

# Every library that would start as many threads as there are cores, in each worker.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "POLARS_MAX_THREADS",
)

_BACKLOG = 2048


def serve(settings: Settings, *, as_json: bool = False) -> int:
    """Serve until SIGTERM or SIGINT and return the exit status.

    Args:
        settings: What to serve and where; workers get them by the environment.
        as_json: Tell the address as one JSON document on stdout once all workers serve.

    Raises:
        InputError: The address cannot be listened on, or that of Redis cannot be read.
        RegistryError: The registry has no bundle to serve, or its file of takedowns is damaged.
        BundleError: That bundle must not go live.
        KeyboardInterrupt: It was asked to stop before workers were started.
    """
    if settings.redis_url is not None:
        check_redis_url(settings.redis_url.get_secret_value())
    else:
        # A worker would refuse to start on a damaged file, but with a traceback.
        TakedownFile(settings.registry).read()
    listener = bind(settings.host, settings.port)
    # Until the supervisor handles it, SIGTERM ends like Ctrl-C: what was begun is put away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with listener, metrics_folder() as folder:
        os.environ.update(worker_environment(settings, folder))
        version = check_apart(settings)
        logging.config.dictConfig(log_config(settings.log_level))
        config = uvicorn.Config(
            "service.app:create_app",
            factory=True,
            workers=settings.workers,
            loop="uvloop",
            http="service.web.protocol:ServiceProtocol",
            ws="none",
            backlog=_BACKLOG,
            access_log=False,
            server_header=False,
            log_config=log_config(settings.log_level),
            timeout_keep_alive=settings.keep_alive,
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
            config,
            listener,
            metrics_path=folder,
            drain_seconds=settings.drain_seconds,
            announcement=announcement,
            as_json=as_json,
        )
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
    with ExitStack() as started:
        with held_signals():
            process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            started.enter_context(process)
            checked = process.submit(check_registry, settings.registry)
        try:
            return checked.result()
        except (OpalError, OSError):
            if settings.wait_for_bundle:
                return None
            raise


def check_registry(path: Path) -> str:
    """Open the live bundle of a registry and return its version; raises as ``check_apart``."""
    from index.bundles.bundle import open_bundle
    from index.registry.registry import Registry

    if not path.is_dir():
        raise RegistryError(
            f"{path}: no such folder; publish a bundle with `python -m index publish BUNDLE "
            f"--registry {path}`, or start with --wait-for-bundle"
        )
    registry = Registry(path)
    version = registry.require_current(otherwise="start with --wait-for-bundle")
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
        METRICS_VARIABLE: str(metrics_path),
    }
    return options | dict.fromkeys(THREAD_VARIABLES, str(settings.threads))
