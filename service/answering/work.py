"""Computations off the event loop, in a bounded queue, one at a time.

One thread per worker is on purpose: a search uses its core fully, so a second thread would make
both slower and give each an OpenMP pool of its own. Workers are what adds cores.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from service.answering.scheduling import be_ordinary
from service.api.problems import DeadlinePassed, Overloaded
from service.monitoring.metrics import Metrics

Result = TypeVar("Result")

_SWAMPED = 4
"""Refusals in a row; a burst that is only a little too large has its hits answered."""

DEADLINE_PASSED = "X-Timeout-Ms passed while the request waited; nothing was done for it"


class WorkQueue:
    """Runs computations in one thread and refuses those that would wait too long.

    Args:
        max_pending: Computations that may wait or run.
        metrics: Shows the queue's depth and what was refused.
    """

    def __init__(self, *, max_pending: int, metrics: Metrics) -> None:
        self._max_pending = max_pending
        self._metrics = metrics
        self._overload = metrics.shed.labels("overload")
        self._pending = self._refused = 0
        self._executor = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="opal-work", initializer=be_ordinary
        )

    @property
    def is_full(self) -> bool:
        """Whether the next computation will be refused."""
        return self._pending >= self._max_pending

    @property
    def is_swamped(self) -> bool:
        """Whether it is full, and has refused several since the last computation ended.

        Then a request is refused unread, though it might be answered from the cache.
        """
        return self.is_full and self._refused >= _SWAMPED

    async def run(self, work: Callable[[], Result], *, deadline: float | None = None) -> Result:
        """Run ``work`` in the thread when its turn comes.

        Args:
            work: The computation.
            deadline: ``time.monotonic()`` after which the caller no longer waits; None for never.

        Raises:
            Overloaded: The queue is full.
            DeadlinePassed: The deadline passed before the work began.
        """
        self.take_place()
        self.show_pending()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, self._run_in_time, work, deadline
            )
        finally:
            self.give_place()

    def take_place(self) -> None:
        """Take one of the places for computations that wait or run, until ``give_place``.

        Raises:
            Overloaded: There is none.
        """
        if self.is_full:
            self._refused += 1
            self._overload.inc()
            raise Overloaded(
                f"{self._pending} computations wait already; try again in a second, elsewhere if "
                "you can"
            )
        self._pending += 1

    def give_place(self) -> None:
        """Give it back."""
        self._refused = 0
        self._pending -= 1
        if self._pending == 0:
            self.show_pending()

    def show_pending(self) -> None:
        """Tell the metrics how many places are taken; for whoever starts a computation."""
        self._metrics.pending.set(self._pending)

    def submit(self, work: Callable[[], None]) -> None:
        """Run ``work``, which raises nothing, in the thread; whoever waits for it has a place."""
        self._executor.submit(work)

    def close(self) -> None:
        """Wait for the computation that runs and refuse all others."""
        self._executor.shutdown(cancel_futures=True)

    def _run_in_time(self, work: Callable[[], Result], deadline: float | None) -> Result:
        if deadline is not None and time.monotonic() >= deadline:
            self._metrics.shed.labels("deadline").inc()
            raise DeadlinePassed(DEADLINE_PASSED)
        return work()
