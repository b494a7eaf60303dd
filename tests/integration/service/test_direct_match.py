"""An ordinary ``POST /match`` is answered past FastAPI; nobody may be able to tell.

A body that comes in chunks is left to FastAPI's route: the same body is sent both ways.
"""

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest

from index.registry.registry import Registry
from tests.bundles import item_id
from tests.redis_server import RedisServer
from tests.services import ServiceProcess, wait_until

HISTORY = [item_id(row) for row in (1, 5, 9, 2)]
BODIES: list[bytes] = [
    orjson.dumps(each)
    for each in (
        {"interactions": HISTORY},
        {"interactions": HISTORY, "user_id": 7, "top_k": 3, "explain": True, "diversity": 0.4},
        {"interactions": [{"item_id": 5, "timestamp": "2026-11-25"}], "exclude_seen": False},
        {"interactions": HISTORY, "categories": {"deny": ["genre-0"]}, "aggregation": "quota"},
        {"interactions": ["nobody knows this"]},
        {},
        {"interactions": HISTORY, "top_k": 0},
        {"interactions": [True], "nonsense": 1},
        {"interactions": ["x"] * 1001},
        {"interactions": HISTORY * 9000, "top_k": 5},
    )
] + [b"", b"[]", b"{", b'{"interactions": ["\xff"]}', b'{"interactions": ["\\ud800"]}']
HEADS: list[bytes] = [
    b"X-Timeout-Ms: 5000\r\n",
    b"X-Timeout-Ms: 0\r\n",
    b"X-Timeout-Ms: -1\r\n",
    b"X-Timeout-Ms: soon\r\n",
    b"X-Timeout-Ms: " + b"9" * 5000 + b"\r\n",
    b"X-Timeout-Ms:  12 \r\n",
    b"X-Timeout-Ms: 7\r\nX-Timeout-Ms: 8\r\n",
    b"Content-Type: text/plain\r\n",
    b"Connection: close\r\n",
    b"X-Request-ID: not sane\x80\r\n",
]
COUNTED = ("opal_requests_total", "opal_request_seconds_count", "opal_answers_total")


class Caller:
    """A connection on which bytes are sent and read as they are."""

    def __init__(self, service: ServiceProcess) -> None:
        url = urlsplit(service.url)
        self._socket = socket.create_connection((url.hostname or "", url.port or 0), timeout=20)
        self._unread = b""

    def send(self, body: bytes, head: bytes = b"X-Request-ID: same\r\n") -> None:
        length = b"Content-Length: %d\r\n" % len(body)
        self.send_raw(b"POST /match HTTP/1.1\r\nHost: x\r\n" + head + length + b"\r\n" + body)

    def send_chunked(self, body: bytes, head: bytes = b"X-Request-ID: same\r\n") -> None:
        half = len(body) // 2
        chunks = b"".join(
            b"%x\r\n%b\r\n" % (len(each), each) for each in (body[:half], body[half:]) if each
        )
        head += b"Transfer-Encoding: chunked\r\n"
        self.send_raw(
            b"POST /match HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n" + chunks + b"0\r\n\r\n"
        )

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> bytes:
        """Read one answer as it comes, head and body, but for the second that it came in."""
        while b"\r\n\r\n" not in self._unread:
            self._read()
        head, _, _ = self._unread.partition(b"\r\n\r\n")
        match = re.search(rb"content-length: (\d+)", head)
        assert match is not None
        size = len(head) + 4 + int(match[1])
        while len(self._unread) < size:
            self._read()
        answer, self._unread = self._unread[:size], self._unread[size:]
        return re.sub(rb"date: [^\r]+", b"date", answer, count=1)

    def is_closed(self) -> bool:
        """Wait for the end of the connection."""
        return self._unread == b"" and self._socket.recv(1) == b""

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> None:
        data = self._socket.recv(1 << 20)
        assert data, self._unread
        self._unread += data


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, bundle_paths: list[Path]
) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("direct")
    Registry(folder / "registry").publish(bundle_paths[0])
    options = {"workers": 1, "cache_ttl": 0, "max_interactions": 1000}
    with ServiceProcess(folder / "registry", folder / "service.log", **options) as running:
        yield running
    assert "Traceback" not in running.log()


@pytest.fixture
def caller(service: ServiceProcess) -> Iterator[Caller]:
    caller = Caller(service)
    yield caller
    caller.close()


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_the_answer_is_to_the_byte_that_of_the_route(caller: Caller, body: bytes) -> None:
    caller.send(body)
    direct = caller.answer()
    caller.send_chunked(body)

    assert direct == caller.answer()


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
def test_headers_are_understood_as_the_route_does(service: ServiceProcess, head: bytes) -> None:
    answers = []
    for name in ("send", "send_chunked"):
        caller = Caller(service)
        getattr(caller, name)(BODIES[0], head)
        # An id that the service made is another each time.
        answers.append(re.sub(rb"[0-9a-f]{32}", b"", caller.answer()))
        if b"close" in head:
            assert caller.is_closed()
        caller.close()

    assert answers[0] == answers[1]


def test_both_ways_are_counted_alike(service: ServiceProcess, caller: Caller) -> None:
    def counts() -> dict[str, float]:
        lines = [line for line in service.metrics().splitlines() if line.startswith(COUNTED)]
        found = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
        return {name: value for name, value in found.items() if "/metrics" not in name}

    changes = []
    for send in (caller.send, caller.send_chunked):
        before = counts()
        for body in BODIES:
            send(body)
            caller.answer()
        after = counts()
        changes.append({name: after[name] - before.get(name, 0) for name in after})

    assert changes[0] == changes[1]
    assert any('route="/match",status="200"' in name for name in changes[0])


def test_a_body_may_come_slowly(caller: Caller) -> None:
    body = BODIES[0]
    caller.send(body)
    expected = caller.answer()
    head = b"POST /match HTTP/1.1\r\nHost: x\r\nX-Request-ID: same\r\nContent-Length: %d\r\n\r\n"
    for piece in (head % len(body), body[:7], body[7:]):
        caller.send_raw(piece)
        time.sleep(0.05)

    assert caller.answer() == expected


def test_who_asks_leave_to_send_a_body_gets_it(caller: Caller) -> None:
    body = BODIES[0]
    caller.send(body)
    expected = caller.answer()
    caller.send_raw(
        b"POST /match HTTP/1.1\r\nHost: x\r\nX-Request-ID: same\r\nExpect: 100-continue\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    caller._read()
    assert caller._unread == b"HTTP/1.1 100 Continue\r\n\r\n"
    caller._unread = b""
    caller.send_raw(body)

    assert caller.answer() == expected


def test_who_hangs_up_within_its_body_is_counted(service: ServiceProcess) -> None:
    ended = 'opal_requests_total{method="POST",route="/match",status="499"}'
    before = service.metric(ended)
    caller = Caller(service)
    caller.send_raw(b"POST /match HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    time.sleep(0.05)
    caller.close()

    wait_until(lambda: service.metric(ended) == before + 1, what="the hang-up to be counted")


def test_a_deadline_that_passes_in_the_queue_is_told(registry_path: Path, tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    with ServiceProcess(registry_path, log, workers=1, micro_batch=1) as service:
        callers = [Caller(service) for _ in range(100)]
        for number, caller in enumerate(callers):
            history = [item_id(number), item_id(number + 100)]
            body = {"interactions": history, "top_k": 290, "diversity": 0.9, "explain": True}
            caller.send(orjson.dumps(body), b"X-Timeout-Ms: 20\r\n")
        statuses = [caller.answer().split(b" ", 2)[1] for caller in callers]
        for caller in callers:
            caller.close()

        assert set(statuses) == {b"200", b"504"}
        assert service.metric('opal_shed_total{reason="deadline"}') == statuses.count(b"504")
    assert "Traceback" not in service.log()


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis"])
def test_equal_requests_share_a_computation_and_then_its_answer(
    registry_path: Path, tmp_path: Path, redis: RedisServer, shared: bool
) -> None:
    options = {"redis_url": redis.url} if shared else {}
    log = tmp_path / "service.log"
    with ServiceProcess(registry_path, log, workers=1, cache_ttl=60, **options) as service:
        callers = [Caller(service) for _ in range(20)]
        for caller in callers:
            caller.send(BODIES[0])
        together = {caller.answer() for caller in callers}
        callers[0].send(BODIES[0])
        later = callers[0].answer()
        # What two wait for goes on when the one who began it is gone.
        callers[0].send(BODIES[1])
        callers[1].send(BODIES[1])
        callers[0].close()
        last = callers[1].answer()
        for caller in callers[1:]:
            caller.close()

        assert last.startswith(b"HTTP/1.1 200 OK")
        sources = {re.sub(rb'.*"source":"(\w+)".*', rb"\1", each, flags=re.S) for each in together}
        assert sources <= {b"model", b"cache"}
        assert later in together
        assert b'"source":"cache"' in later
        assert service.metric("opal_micro_batch_size_sum") == 2
        hits = [
            service.metric(f'opal_cache_lookups_total{{result="hit",tier="{tier}"}}')
            for tier in ("flight", "memory")
        ]
        assert sum(hits) >= 20
    assert "Traceback" not in service.log()
