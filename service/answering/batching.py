"""Micro-batches: what arrives together is computed together.

While one batch is computed, the next one gathers: the busier the worker, the larger its batches,
and nobody waits for company where there is none.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from service.answering.work import DEADLINE_PASSED, WorkQueue
from service.api.problems import DeadlinePassed
from service.monitoring.metrics import Metrics

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Waiting(Generic[Item, Result]):
    """One item whose result somebody waits for."""

    __slots__ = ("begun", "deadline", "item", "result", "timer")

    def __init__(self, item: Item, deadline: float | None) -> None:
        self.item = item
        self.deadline = deadline
        self.result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.begun = False
        self.timer: asyncio.TimerHandle | None = None


class MicroBatcher(Generic[Item, Result]):
    """Runs items through one function, several at a time, off the event loop.

    Args:
        compute: Gives the result of each item, in their order. Runs in the queue's thread. What it
            gives for an item must not depend on the others.
        queue: Where batches are computed, and what bounds how many items wait.
        max_batch: Items computed together.
        max_wait: Seconds that an item waits for others when the thread is idle; 0 never makes one
            wait.
        metrics: Told of each batch's size, and of what was refused.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        queue: WorkQueue,
        max_batch: int,
        max_wait: float,
        metrics: Metrics,
    ) -> None:
        self._compute = compute
        self._queue = queue
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._metrics = metrics
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._is_running = False
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, item: Item, *, deadline: float | None = None) -> Result:
        """Compute one item together with what else waits; see ``submit``."""
        return await self.submit(item, deadline=deadline)

    def submit(self, item: Item, *, deadline: float | None = None) -> "asyncio.Future[Result]":
        """Have one item computed together with what else waits.

        Whoever cancels the result takes the item back, unless it is being computed.

        Args:
            item: What to compute.
            deadline: ``time.monotonic()`` after which the caller no longer waits; None for never.

        Returns:
            The result; or ``DeadlinePassed``, where the deadline passed before the work began; or
            what ``compute`` raised for this item.

        Raises:
            Overloaded: Too much waits already.
        """
        self._queue.take_place()
        waiting = _Waiting[Item, Result](item, deadline)
        waiting.result.add_done_callback(partial(self._leave, waiting))
        self._waiting.append(waiting)
        self._see_to_it()
        if deadline is not None:
            # Told in time, and its place is another's: not only when its turn would come.
            left = max(0.0, deadline - time.monotonic())
            waiting.timer = asyncio.get_running_loop().call_later(left, self._expire, waiting)
        return waiting.result

    def _leave(self, waiting: _Waiting[Item, Result], _: "asyncio.Future[Result]") -> None:
        if waiting.timer is not None:
            waiting.timer.cancel()
        self._queue.give_place()

    def _expire(self, waiting: _Waiting[Item, Result]) -> None:
        if not waiting.begun and not waiting.result.done():
            self._metrics.shed.labels("deadline").inc()
            waiting.result.set_exception(DeadlinePassed(DEADLINE_PASSED))

    def _see_to_it(self) -> None:
        """Have a batch begin, as soon as it may."""
        if self._is_running:
            return  # and looks again when it is done
        loop = asyncio.get_running_loop()
        if self._max_wait == 0 or len(self._waiting) >= self._max_batch:
            self._is_running = True
            # What else this turn of the loop has read goes along.
            loop.call_soon(self._begin)
        elif self._timer is None:
            self._timer = loop.call_later(self._max_wait, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        if not self._is_running:
            self._is_running = True
            self._begin()

    def _begin(self) -> None:
        """Give the thread the next batch; there is none under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = self._next_batch()
        if not batch:
            self._is_running = False
            return
        self._metrics.micro_batch_size.observe(len(batch))
        self._queue.show_pending()  # not for each item, which would take longer than all else
        loop = asyncio.get_running_loop()

        def work() -> None:
            outcomes: list[Result | Exception]
            try:
                outcomes = self._outcomes([each.item for each in batch])
            except BaseException as error:  # such as a panic in Rust
                # Nobody would hear of it here, and all would wait for ever.
                outcomes = [RuntimeError(f"the computation was broken off: {error!r}")] * len(batch)
            loop.call_soon_threadsafe(self._finish, batch, outcomes)

        try:
            self._queue.submit(work)
        except RuntimeError as error:  # the queue is closed: the worker stops
            for each in batch:
                each.result.set_exception(error)

    def _next_batch(self) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        now = time.monotonic()
        while self._waiting and len(batch) < self._max_batch:
            each = self._waiting.popleft()
            if each.result.done():
                continue  # nobody waits any more
            if each.deadline is not None and now >= each.deadline:
                self._expire(each)
                continue
            each.begun = True
            batch.append(each)
        return batch

    def _outcomes(self, items: list[Item]) -> list[Result | Exception]:
        """Compute in the thread; where it fails for many, find out for whom."""
        try:
            return list(self._compute(items))
        except Exception as error:
            if len(items) == 1:
                return [error]
        return [outcome for item in items for outcome in self._outcomes([item])]

    def _finish(
        self, batch: list[_Waiting[Item, Result]], outcomes: list[Result | Exception]
    ) -> None:
        for each, outcome in zip(batch, outcomes, strict=True):
            if each.result.done():
                continue
            if isinstance(outcome, Exception):
                each.result.set_exception(outcome)
            else:
                each.result.set_result(outcome)
        self._begin()
