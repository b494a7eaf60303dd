"""One computation per key at a time: equal requests that arrive together share one answer."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from service.problems import DeadlinePassed
from service.work import DEADLINE_PASSED

Answer = TypeVar("Answer")

_logger = logging.getLogger(__name__)


class _Flight(Generic[Answer]):
    """One computation, and how many wait for its answer."""

    def __init__(self, answer: "asyncio.Future[Answer]") -> None:
        self.answer = answer
        self.task: asyncio.Task[None] | None = None
        self.waiting = 0


class Flights(Generic[Answer]):
    """Computations under way, by key.

    A computation runs as a task of its own: the caller who started it may go away without taking
    the answer from those who joined. Once all of them have gone away it is cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[Answer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self, key: str, *, deadline: float | None = None) -> Answer | None:
        """Wait for the computation under way for ``key``; None where there is none to share.

        Args:
            key: Of the computation.
            deadline: ``time.monotonic()`` after which the caller no longer waits; None for never.

        Raises:
            DeadlinePassed: The deadline passed first.
            Exception: What the computation raised.
        """
        while (flight := self._flights.get(key)) is not None:
            try:
                left = None if deadline is None else deadline - time.monotonic()
                async with asyncio.timeout(left):
                    return await self._wait(key, flight)
            except DeadlinePassed:
                continue  # that was the deadline of the one who started it, not ours
            except TimeoutError:
                raise DeadlinePassed(DEADLINE_PASSED) from None
        return None

    async def start(
        self, key: str, fly: Callable[["asyncio.Future[Answer]"], Awaitable[None]]
    ) -> Answer:
        """Start the computation for ``key`` and wait for its answer.

        Call it right after ``join`` found nothing: one computation per key at a time.

        Args:
            key: What others join by, until ``fly`` returns.
            fly: Sets the answer in the future that it is given, then may go on (to store it).

        Raises:
            Exception: What ``fly`` raised before it set the answer.
        """
        flight = _Flight[Answer](asyncio.get_running_loop().create_future())
        self._flights[key] = flight
        flight.task = asyncio.create_task(self._fly(key, fly, flight))
        self._tasks.add(flight.task)
        flight.task.add_done_callback(self._tasks.discard)
        return await self._wait(key, flight)

    async def close(self) -> None:
        """Wait for the computations under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wait(self, key: str, flight: _Flight[Answer]) -> Answer:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.answer)
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.answer.done():
                self._forget(key, flight)  # at once: nobody may join what is given up
                assert flight.task is not None
                flight.task.cancel()

    async def _fly(
        self,
        key: str,
        fly: Callable[["asyncio.Future[Answer]"], Awaitable[None]],
        flight: _Flight[Answer],
    ) -> None:
        answer = flight.answer
        try:
            await fly(answer)
        except Exception as error:
            if answer.done():
                _logger.exception("what followed an answer failed")
            else:
                answer.set_exception(error)
                answer.exception()  # mark as seen: every caller may have gone away
        finally:
            self._forget(key, flight)

    def _forget(self, key: str, flight: _Flight[Answer]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
