"""Load over HTTP/1.1 from a process of its own: a plan on stdin, an ``Outcome`` on stdout.

**Closed loop**: each connection sends its next request when the answer to the last one is there.
It waits when the server is slow, so its percentiles are better than what independent callers see.

**Open loop** (a plan with a ``rate``): requests are due at moments that were drawn before, whatever
the server does, and a latency counts from that moment. What finds all connections waiting gets one
more, up to ``most_connections``; beyond these it waits itself, and counts as late.
"""

import asyncio
import os
import sys
from collections import deque
from contextlib import suppress
from dataclasses import asdict

import orjson
import uvloop

from tests.bench.http_connection import Connection
from tests.bench.load_books import Load
from tests.bench.load_plan import Plan
from tests.bench.outcome import Outcome
from tests.bench.precise_timer import PreciseTimer

LATE_SECONDS = 0.001
PRIORITY = -10


def run(plan: Plan) -> Outcome:
    """Load a server."""
    load = ClosedLoop(plan) if plan.rate is None else OpenLoop(plan)
    return uvloop.run(load.run())


class ClosedLoop(Load):
    """See the module."""

    def begin(self) -> None:
        if not self.connections:
            self._done.set()
        for connection in list(self.connections):
            self.is_idle(connection)

    def lasted(self) -> float:
        ends = map(sum, zip(self.outcome.begun, self.outcome.latencies, strict=True))
        return max(ends, default=self.now())

    def is_idle(self, connection: Connection) -> None:
        if not self.is_all_sent():
            self.ask(connection, self.now())

    def is_all_sent(self) -> bool:
        most = self.plan.requests
        return self.now() >= self.plan.seconds or (most is not None and self.outcome.asked >= most)

    def refused(self) -> None:
        # Counted once and not tried again: it would be refused as fast as it can be asked.
        self.fail(self.now() if self.start else 0.0, "refused")
        if not self.connections and self.start:
            self._done.set()


class OpenLoop(Load):
    """See the module."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._due = deque(plan.due())
        self._waiting: deque[float] = deque()
        # The one that has been idle longest goes next: the server's processes share the
        # connections, and a few busy ones would load them unequally.
        self._idle: deque[Connection] = deque()

    def begin(self) -> None:
        self._timer = PreciseTimer(asyncio.get_running_loop(), self._send_due)
        self._idle.extend(self.connections)
        self._send_due()

    def lasted(self) -> float:
        self._timer.close()
        return self.plan.seconds

    def is_all_sent(self) -> bool:
        return not self._due and not self._waiting

    def is_idle(self, connection: Connection) -> None:
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def give_up(self) -> None:
        super().give_up()
        for due in (*self._waiting, *self._due):
            self.outcome.asked += 1
            self.fail(due, "no answer")

    def refused(self) -> None:
        if self._waiting:
            self.outcome.asked += 1
            self.fail(self._waiting.popleft(), "refused")
            self.check_done()

    def _send_due(self) -> None:
        now = self.now()
        while self._due and self._due[0] <= now:
            self._send_or_wait(self._due.popleft())
        if self._due:
            self._timer.set(self._due[0] - self.now())
        self.check_done()

    def _send_or_wait(self, due: float) -> None:
        while self._idle:
            connection = self._idle.popleft()
            if connection in self.connections:  # the server has not closed it meanwhile
                self._send(connection, due)
                return
        self._waiting.append(due)
        n_connections = len(self.connections) + self.n_opening
        if n_connections < self.plan.most_connections and self.n_opening < len(self._waiting):
            self.open_more()

    def _send(self, connection: Connection, due: float) -> None:
        behind = self.now() - due
        if behind > LATE_SECONDS:
            self.outcome.late += 1
            self.outcome.most_late = max(self.outcome.most_late, behind)
        self.ask(connection, due)


def main() -> None:
    """Carry out the plan on stdin."""
    # Elsewhere, callers have processors of their own. Here one that waits for a processor would
    # send late, and what it is late by would count as the server's.
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    outcome = run(Plan(**orjson.loads(sys.stdin.buffer.read())))
    # Not ``sys.stdout.buffer``: with PYTHONUNBUFFERED that one may write a part and say so.
    with open(sys.stdout.fileno(), "wb", closefd=False) as output:
        output.write(orjson.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
