"""Callers that hang up, and more of them than a worker can serve, over real sockets."""

import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import TypeAdapter

from service.api.answers import Problem
from service.api.problems import PROBLEM_JSON
from tests.bundles import item_id
from tests.services import ServiceProcess, wait_until


def body_of(number: int) -> str:
    """A request unlike all others that takes some milliseconds."""
    history = [item_id(number % 300), item_id(number // 300)]
    return json.dumps({"interactions": history, "top_k": 290, "diversity": 0.9, "explain": True})


@contextmanager
def asking(
    service: ServiceProcess, n_callers: int, *, path: str = "/match"
) -> Iterator[list[http.client.HTTPConnection]]:
    """Callers who have asked, each on a connection of its own, and have read no answer yet."""
    url = urlsplit(service.url)
    assert url.hostname is not None
    connections = [
        http.client.HTTPConnection(url.hostname, url.port, timeout=20) for _ in range(n_callers)
    ]
    for connection in connections:
        connection.connect()
    for number, connection in enumerate(connections):
        headers = {"X-Request-ID": f"caller-{number}"}
        connection.request("POST", path, body=body_of(number), headers=headers)
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


@contextmanager
def flooding(service: ServiceProcess) -> Iterator[None]:
    """Eight callers who ask again and again."""
    url, is_over = urlsplit(service.url), threading.Event()

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=20)
        while not is_over.is_set():
            number += 8
            connection.request("POST", "/match", body=body_of(number))
            connection.getresponse().read()
        connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        is_over.set()
        for each in threads:
            each.join()


def resident_bytes(pid: int) -> int:
    """Memory of a process, from Linux."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_who_hung_up_is_not_worked_for(registry_path: Path, tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    with ServiceProcess(registry_path, log, workers=1, micro_batch=1, max_pending=500) as service:
        with asking(service, 200):
            pass
        ended = 'opal_requests_total{method="POST",route="/match",status="499"}'
        wait_until(lambda: service.metric(ended) > 0, what="hang-ups to be counted")
        wait_until(lambda: service.metric("opal_pending") == 0, what="the queue to be empty")
        answered = service.metric('opal_requests_total{method="POST",route="/match",status="200"}')

        assert service.metric(ended) + answered == 200
        # Those that were computed when their caller hung up are finished; no others are begun.
        assert service.metric("opal_micro_batch_size_sum") < 100
        with asking(service, 1) as (connection,):
            assert connection.getresponse().status == 200
    assert "Traceback" not in service.log()


def test_a_swamped_worker_refuses_at_once_and_serves_on(
    registry_path: Path, tmp_path: Path
) -> None:
    log = tmp_path / "service.log"
    with ServiceProcess(registry_path, log, workers=1, micro_batch=1, max_pending=4) as service:
        with asking(service, 100) as connections:
            responses = [connection.getresponse() for connection in connections]
            bodies = [response.read() for response in responses]
            refused = [each.status == 503 for each in responses]
            details = set()
            for number, response in enumerate(responses):
                assert response.headers["X-Request-ID"] == f"caller-{number}"
                if refused[number]:
                    assert response.headers["Retry-After"] == "1"
                    assert response.headers["Content-Type"] == PROBLEM_JSON
                    problem = json.loads(bodies[number])
                    TypeAdapter(Problem).validate_python(problem, strict=True)
                    details.add(problem["detail"][:20])
                else:
                    assert response.status == 200
                    assert len(json.loads(bodies[number])["candidates"]) == 290

            # Some were refused by the queue, most before there was a task; a few were served.
            assert len(details) == 2
            assert refused.count(False) >= 4
            # Nobody's connection was closed for it; those refused are heard again a little later.
            for connection in connections:
                connection.request("GET", "/healthz")
                assert connection.getresponse().read() == b'{"status":"ok"}'
        for series in (
            'opal_shed_total{reason="overload"}',
            'opal_requests_total{method="POST",route="/match",status="503"}',
        ):
            assert service.metric(series) == refused.count(True)
    assert "Traceback" not in service.log()


def test_a_refused_body_may_still_be_on_its_way(registry_path: Path, tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    with ServiceProcess(registry_path, log, workers=1, micro_batch=1, max_pending=2) as service:

        def refused_before_its_body() -> http.client.HTTPConnection | None:
            with asking(service, 60):
                late = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=0.2)
                late.putrequest("POST", "/match")
                late.putheader("Content-Length", "20")
                late.endheaders()
                try:
                    response = late.getresponse()
                except TimeoutError:  # it was not among the refused, and waits for its body
                    late.close()
                    return None
                assert response.status == 503
                assert b"elsewhere" in response.read()
                return late

        late = next(filter(None, (refused_before_its_body() for _ in range(100))))
        late.send(b'{"interactions": []}')  # what was announced still comes
        wait_until(lambda: service.metric("opal_pending") == 0, what="the flood to be over")
        late.request("POST", "/match", body=b'{"top_k": 3}')
        assert len(json.loads(late.getresponse().read())["candidates"]) == 3
        late.close()


def pipelined(n: int) -> bytes:
    """Requests in one piece; no caller has read an answer when the last one is sent."""
    return b"".join(
        b"POST /match HTTP/1.1\r\nHost: x\r\n"
        b"X-Request-ID: caller-%d\r\nContent-Length: %d\r\n\r\n%b"
        % (number, len(body_of(number)), body_of(number).encode())
        for number in range(n)
    )


def test_pipelined_requests_are_answered_in_their_order(
    registry_path: Path, tmp_path: Path
) -> None:
    log = tmp_path / "service.log"
    with ServiceProcess(registry_path, log, workers=1, micro_batch=1, max_pending=2) as service:
        url = urlsplit(service.url)
        address = (url.hostname or "", url.port or 0)
        # Others take the places all the while, so that some are refused and some are served.
        statuses: set[bytes] = set()
        with flooding(service), socket.create_connection(address, timeout=60) as caller:
            end = time.monotonic() + 30
            while statuses != {b"200", b"503"} and time.monotonic() < end:
                caller.sendall(pipelined(50))
                answers = b""
                while answers.count(b"\r\n\r\n") < 50:
                    answers += caller.recv(1 << 20)
                found = re.findall(rb"x-request-id: caller-(\d+)", answers)
                assert [int(each) for each in found] == list(range(50))
                statuses |= set(re.findall(rb"HTTP/1.1 (\d+)", answers))
        assert statuses == {b"200", b"503"}
    assert "Traceback" not in service.log()


def test_nothing_is_done_after_an_answer_that_said_close(
    registry_path: Path, tmp_path: Path
) -> None:
    log = tmp_path / "service.log"
    hit = b"POST /match HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body_of(1)),
        body_of(1).encode(),
    )
    end = b"DELETE /admin/takedowns/item-0250 HTTP/1.1\r\n\r\n"
    with ServiceProcess(registry_path, log, workers=1, drain_seconds=0) as service:
        httpx.put(f"{service.url}/admin/takedowns/item-0250", json={}).raise_for_status()
        url = urlsplit(service.url)
        with socket.create_connection((url.hostname or "", url.port or 0), timeout=20) as caller:
            caller.sendall(hit)
            first = caller.recv(1 << 20)
            assert first.startswith(b"HTTP/1.1 200")
            (worker,) = service.worker_pids()
            os.kill(worker, signal.SIGTERM)
            time.sleep(0.15)
            while b"}]}" not in first[-10:]:
                first += caller.recv(1 << 20)
            caller.sendall(hit + hit + end)
            answers = b""
            while data := caller.recv(1 << 20):
                answers += data
        assert answers.count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in answers
        assert "taken down no longer" not in service.log()


@pytest.mark.parametrize("is_half_sent", [False, True], ids=["computing", "half a body"])
def test_who_cannot_be_waited_for_is_told_that_the_worker_stops(
    registry_path: Path, tmp_path: Path, is_half_sent: bool
) -> None:
    log = tmp_path / "service.log"
    options = {"workers": 1, "micro_batch": 1, "max_pending": 3000, "shutdown_timeout": 1}
    with ServiceProcess(registry_path, log, **options) as service:
        with asking(service, 0 if is_half_sent else 1200) as connections:
            if is_half_sent:
                url = urlsplit(service.url)
                caller = http.client.HTTPConnection(url.hostname or "", url.port, timeout=20)
                caller.putrequest("POST", "/match")
                caller.putheader("Content-Length", "100")
                caller.endheaders(b"{")
                connections.append(caller)
                time.sleep(0.2)
            service.process.terminate()
            response = connections[-1].getresponse()
            assert response.status == 503
            assert response.headers["Connection"] == "close"
            assert json.loads(response.read())["title"] == "Not ready"
        assert service.process.wait(20) == 0
    assert "Traceback" not in service.log()


def test_a_row_of_requests_does_not_fill_the_memory(registry_path: Path, tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    with ServiceProcess(registry_path, log, workers=1) as service:
        url = urlsplit(service.url)
        (worker,) = service.worker_pids()
        before = resident_bytes(worker)
        flood = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 5000
        with socket.create_connection((url.hostname or "", url.port or 0), timeout=20) as caller:

            def read() -> None:
                with suppress(OSError):
                    while caller.recv(1 << 20):
                        pass

            reader = threading.Thread(target=read)
            reader.start()
            end = time.monotonic() + 3
            caller.settimeout(0.2)
            while time.monotonic() < end:
                with suppress(TimeoutError):
                    caller.send(flood)
            grown = resident_bytes(worker) - before
            caller.shutdown(socket.SHUT_RDWR)
            reader.join()
    assert grown < 100 << 20


def test_who_hangs_up_with_requests_in_a_row_leaves_no_error(
    registry_path: Path, tmp_path: Path
) -> None:
    log = tmp_path / "service.log"
    with ServiceProcess(registry_path, log, workers=1, micro_batch=1) as service:
        url = urlsplit(service.url)
        address = (url.hostname or "", url.port or 0)
        for _ in range(20):
            with socket.create_connection(address) as caller:
                caller.sendall(pipelined(5))
        wait_until(
            lambda: service.metrics().count('route="/match",status=') > 0,
            what="the first of each row to be answered, or its hang-up to be counted",
        )
        wait_until(lambda: service.metric("opal_pending") == 0, what="the queue to be empty")
    assert "Traceback" not in service.log()
    assert "Exception" not in service.log()
