"""What every load has in common: connections that are opened, used and lost, and the books."""

import asyncio
import time

from tests.bench.http_connection import Answer, Connection
from tests.bench.load_plan import Plan
from tests.bench.outcome import OK, Outcome

GRACE_SECONDS = 10.0
"""How long an answer may take after the load has ended, before it counts as a failure."""


class Load:
    """What both loops have in common: connections, and the books."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.requests = plan.to_bytes()
        self.outcome = Outcome()
        self.start = 0.0
        self.is_over = False
        self.connections: set[Connection] = set()
        self.under_way = 0
        self._opening: set[asyncio.Task[None]] = set()
        self._done = asyncio.Event()

    async def run(self) -> Outcome:
        """Send, wait for what is under way, and return what was met."""
        await asyncio.gather(*(self._open() for _ in range(self.plan.connections)))
        busy_before = time.process_time()
        self.start = time.perf_counter()
        self.begin()
        try:
            await asyncio.wait_for(self._done.wait(), self.plan.seconds + GRACE_SECONDS)
        except TimeoutError:
            self.give_up()
        self.outcome.seconds = self.lasted()
        self.outcome.cpu_seconds = time.process_time() - busy_before
        self.is_over = True
        for connection in list(self.connections):
            connection.abort()
        return self.outcome

    def begin(self) -> None:
        """Send what is to be sent first."""
        raise NotImplementedError

    def lasted(self) -> float:
        """Return the seconds that the answers are divided by."""
        raise NotImplementedError

    def is_idle(self, connection: Connection) -> None:
        """Use a connection that is new, or has got its answer."""
        raise NotImplementedError

    def is_all_sent(self) -> bool:
        """Tell whether nothing more is to be sent."""
        raise NotImplementedError

    def now(self) -> float:
        """Seconds from the start."""
        return time.perf_counter() - self.start

    def ask(self, connection: Connection, due: float) -> None:
        """Send the next request, which was due then."""
        self.under_way += 1
        connection.ask(self.requests[self.outcome.asked % len(self.requests)], due)
        self.outcome.asked += 1

    def fail(self, due: float, what: str) -> None:
        """Count a request that got no good answer."""
        self.outcome.failures.append((due, what))

    def give_up(self) -> None:
        """Count what is still under way: it has not come within the grace."""
        for connection in self.connections:
            if connection.begun is not None:
                self.fail(connection.begun, "no answer")

    def check_done(self) -> None:
        """End the load where nothing is under way and nothing comes."""
        if self.is_all_sent() and self.under_way == 0:
            self._done.set()

    def open_more(self) -> None:
        """Open one more connection meanwhile."""
        task = asyncio.ensure_future(self._open())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    @property
    def n_opening(self) -> int:
        """Connections that will be there soon."""
        return len(self._opening)

    def refused(self) -> None:
        """Do what is to be done when a connection could not be opened."""
        raise NotImplementedError

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._answered, self._lost), self.plan.host, self.plan.port
            )
        except OSError:
            self.refused()
            return
        self.connections.add(connection)
        if self.start:
            self.is_idle(connection)

    def _answered(self, connection: Connection, answer: Answer) -> None:
        begun = connection.begun
        if begun is None:  # an answer that nobody asked for
            connection.abort()
            return
        connection.begun = None
        self.under_way -= 1
        if answer.status == OK:
            self.outcome.begun.append(begun)
            self.outcome.latencies.append(time.perf_counter() - self.start - begun)
            self.outcome.cached += answer.is_cached
            self.outcome.answer_bytes = answer.size
        else:
            self.fail(begun, str(answer.status) if answer.status else "broken")
        if answer.closes:
            connection.abort()  # ``_lost`` opens another
        else:
            self.is_idle(connection)
        self.check_done()

    def _lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if self.is_over:
            return
        if connection.begun is not None:
            self.under_way -= 1
            self.fail(connection.begun, "closed")
        if not self.is_all_sent():
            self.outcome.reopened += 1
            self.open_more()
        self.check_done()
