"""How connections come to workers: shared out, and again after there was no room for any."""

import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.services import ServiceProcess, wait_until


@contextmanager
def connections(service: ServiceProcess, n: int) -> Iterator[list[socket.socket]]:
    url = urlsplit(service.url)
    assert url.hostname is not None
    assert url.port is not None
    opened = [socket.create_connection((url.hostname, url.port), timeout=10) for _ in range(n)]
    try:
        yield opened
    finally:
        for each in opened:
            each.close()


def n_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_connections_that_come_at_once_are_shared_out(registry_path: Path, tmp_path: Path) -> None:
    with ServiceProcess(registry_path, tmp_path / "service.log") as service:
        before = {pid: n_files(pid) for pid in service.worker_pids()}
        assert len(before) == 2
        with connections(service, 60):

            def accepted() -> list[int]:
                return [n_files(pid) - count for pid, count in before.items()]

            wait_until(lambda: sum(accepted()) >= 60, what="all to be accepted")

            # uvicorn's own way gives one of the two all or nearly all of them.
            assert min(accepted()) >= 10


def test_a_worker_without_room_for_connections_takes_them_when_there_is(
    registry_path: Path, tmp_path: Path
) -> None:
    with ServiceProcess(registry_path, tmp_path / "service.log", workers=1) as service:
        (pid,) = service.worker_pids()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (n_files(pid) + 5, n_files(pid) + 5))
        with connections(service, 20):
            wait_until(lambda: "cannot accept connections now" in service.log(), what="a warning")
            with pytest.raises(httpx.TimeoutException):
                httpx.get(f"{service.url}/healthz", timeout=0.3)

        # They are closed; the worker looks again after a second, and does not spin until then.
        assert httpx.get(f"{service.url}/healthz", timeout=10).status_code == 200
        assert service.log().count("cannot accept connections now") < 10
    assert "Traceback" not in service.log()


def test_while_it_stops_new_connections_are_refused_and_not_reset(
    registry_path: Path, tmp_path: Path
) -> None:
    with ServiceProcess(registry_path, tmp_path / "service.log") as service:
        url = urlsplit(service.url)
        address = (url.hostname or "", url.port or 0)
        service.process.send_signal(signal.SIGTERM)
        refused, reset = 0, 0
        while service.process.poll() is None:
            try:
                with socket.create_connection(address, 5) as caller:
                    caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert caller.recv(100).startswith(b"HTTP/1.1 200")  # who got in is served
            except ConnectionRefusedError:
                refused += 1
                time.sleep(0.01)
            except ConnectionResetError:
                reset += 1
    assert refused > 0
    # One may come between the last look at the queue and its end; in 0.3 s there would be dozens.
    assert reset <= 2
