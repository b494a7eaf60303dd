"""The load generator against little servers whose behaviour is known."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from tests.bench.http_connection import BROKEN, Answer, read_answer
from tests.bench.load_plan import Plan
from tests.bench.outcome import Outcome, percentile
from tests.bench.servers import load
from tests.redis_server import free_port

Handler = Callable[[socket.socket, int], bool]
"""Answers the request of this number, from 0; tells whether the connection stays."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def server(handle: Handler) -> Iterator[int]:
    """Run a server with a thread for each connection; requests are numbered as they come."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    numbers = iter(range(1_000_000))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(65536) and handle(connection, next(numbers)):
                    pass
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def plan(port: int, *, seconds: float = 0.5, connections: int = 4, **more: object) -> Plan:
    return Plan("127.0.0.1", port, ["{}"], seconds, connections, **more)  # type: ignore[arg-type]


def answer_ok(connection: socket.socket, number: int) -> bool:
    connection.sendall(OK)
    return True


def test_a_closed_loop_sends_as_many_requests_as_it_may_and_counts_each_once() -> None:
    with server(answer_ok) as port:
        outcome = load(plan(port, seconds=30, requests=37))

    assert (outcome.asked, len(outcome.latencies), outcome.errors) == (37, 37, 0)
    assert outcome.answer_bytes == 2


def test_a_closed_loop_has_one_request_under_way_on_each_connection() -> None:
    under_way, most, lock = [0], [0], threading.Lock()

    def handle(connection: socket.socket, number: int) -> bool:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.02)
        with lock:
            under_way[0] -= 1
        return answer_ok(connection, number)

    with server(handle) as port:
        load(plan(port, connections=3, seconds=30, requests=30))

    assert most[0] == 3


def test_other_answers_are_failures_by_their_status() -> None:
    def handle(connection: socket.socket, number: int) -> bool:
        busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(busy if number % 3 == 0 else OK)
        return True

    with server(handle) as port:
        outcome = load(plan(port, seconds=30, requests=30))

    assert len(outcome.latencies) == 20
    assert outcome.kinds_of_failure() == {"503": 10}


def test_a_connection_that_the_server_closes_is_a_failure_and_is_opened_again() -> None:
    def handle(connection: socket.socket, number: int) -> bool:
        return number != 5 and answer_ok(connection, number)

    with server(handle) as port:
        outcome = load(plan(port, connections=1, seconds=30, requests=20))

    assert outcome.kinds_of_failure() == {"closed": 1}
    assert (len(outcome.latencies), outcome.reopened) == (19, 1)


def test_a_connection_that_closes_after_its_answer_is_no_failure() -> None:
    def handle(connection: socket.socket, number: int) -> bool:
        connection.sendall(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        return False

    with server(handle) as port:
        outcome = load(plan(port, connections=2, seconds=30, requests=10))

    assert (len(outcome.latencies), outcome.errors) == (10, 0)


def test_nobody_there_is_a_failure_and_not_an_endless_wait() -> None:
    outcome = load(plan(free_port(), seconds=0.2))

    assert outcome.latencies == []
    assert set(outcome.kinds_of_failure()) == {"refused"}


def test_answers_say_whether_they_come_from_a_cache() -> None:
    def handle(connection: socket.socket, number: int) -> bool:
        source = b"cache" if number % 2 else b"model"
        body = b'{"request_id":"0","source":"' + source + b'"}'
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        connection.sendall(head + body)
        return True

    with server(handle) as port:
        outcome = load(plan(port, connections=1, seconds=30, requests=10))

    assert outcome.cached_share == 0.5


def test_an_open_loop_sends_at_its_rate_however_slow_the_server_is() -> None:
    def handle(connection: socket.socket, number: int) -> bool:
        time.sleep(0.2)
        return answer_ok(connection, number)

    with server(handle) as port:
        # A closed loop would get 4 × 5 answers in a second.
        outcome = load(plan(port, seconds=1.0, rate=100.0, arrivals="even"))

    assert (outcome.asked, len(outcome.latencies), outcome.errors) == (100, 100, 0)
    assert min(outcome.latencies) >= 0.2
    assert sorted(outcome.begun) == pytest.approx(sorted(number / 100 for number in range(100)))


def test_an_open_loop_counts_a_stall_in_the_latency_of_all_that_were_due_in_it() -> None:
    """Coordinated omission: a closed loop would see one slow answer."""
    stalled_until = [0.0]
    lock = threading.Lock()

    def handle(connection: socket.socket, number: int) -> bool:
        with lock:
            if number == 50:
                stalled_until[0] = time.monotonic() + 0.5
        time.sleep(max(0.0, stalled_until[0] - time.monotonic()))
        return answer_ok(connection, number)

    with server(handle) as port:
        outcome = load(plan(port, seconds=2.0, rate=100.0, arrivals="even"))

    # Due every 10 ms: of the stall's half second, 50 wait for what is left of it.
    assert len(outcome.latencies) == 200
    assert sum(latency > 0.1 for latency in outcome.latencies) >= 35
    assert max(outcome.latencies) >= 0.45


def test_an_open_loop_without_a_free_connection_counts_the_wait_too() -> None:
    def handle(connection: socket.socket, number: int) -> bool:
        time.sleep(0.1)
        return answer_ok(connection, number)

    with server(handle) as port:
        # One connection answers 10 in a second; 20 are due in half a second.
        outcome = load(
            plan(
                port,
                seconds=0.5,
                connections=1,
                most_connections=1,
                rate=40.0,
                arrivals="even",
            )
        )

    assert len(outcome.latencies) == 20
    assert outcome.late >= 18
    assert max(outcome.latencies) >= 1.4  # the last waits for 19 others, and was due at 0.475 s
    assert outcome.most_late >= 1.3


def test_what_does_not_answer_is_a_failure_of_its_own_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tests.bench import load_books
    from tests.bench.load import run

    monkeypatch.setattr(load_books, "GRACE_SECONDS", 0.2)

    def handle(connection: socket.socket, number: int) -> bool:
        time.sleep(2.0)
        return False

    with server(handle) as port:
        outcome = run(plan(port, seconds=0.2, connections=3))

    assert outcome.kinds_of_failure() == {"no answer": 3}


def test_poisson_arrivals_have_the_rate_and_are_not_even() -> None:
    due = Plan("", 0, ["{}"], 100.0, 1, rate=50.0).due()
    gaps = [after - before for before, after in pairwise(due)]
    mean = sum(gaps) / len(gaps)

    assert len(due) == pytest.approx(5000, rel=0.05)
    assert due == sorted(due)
    # Of exponential gaps the standard deviation is the mean.
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.1)


@pytest.mark.parametrize("cut", range(1, len(OK)))
def test_an_answer_is_read_only_when_all_of_it_is_there(cut: int) -> None:
    assert read_answer(OK[:cut]) is None
    assert read_answer(OK) == Answer(200, 2, is_cached=False, closes=False)


def test_a_chunked_answer_ends_with_its_last_chunk() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"

    assert read_answer(answer[:-3]) is None
    found = read_answer(answer)
    assert found is not None
    assert found.status == 200


def test_what_is_not_http_is_broken() -> None:
    assert read_answer(b"SSH-2.0\r\n\r\n") == BROKEN


def test_a_part_of_an_outcome_holds_what_was_due_in_it() -> None:
    outcome = Outcome(4.0, [0.0, 1.0, 2.0, 3.0], [0.1, 0.2, 0.3, 0.4], [(1.5, "503"), (3.5, "504")])
    part = outcome.between(1.0, 3.0)

    assert part.latencies == [0.2, 0.3]
    assert part.kinds_of_failure() == {"503": 1}
    assert part.speed == 1.0


def test_percentiles_are_latencies_that_were_measured() -> None:
    values = [float(number) for number in range(1000, 0, -1)]

    assert [percentile(values, share) for share in (0.5, 0.99, 0.999, 1.0)] == [
        500,
        990,
        999,
        1000,
    ]
