"""One computation per key at a time: equal requests that arrive together share one answer."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from service.answering.work import DEADLINE_PASSED
from service.api.problems import DeadlinePassed

Answer = TypeVar("Answer")

_logger = logging.getLogger(__name__)


class Flight(Generic[Answer]):
    """One computation, and how many wait for its answer.

    Attributes:
        answer: Comes, or fails, for all of them.
        flights: Whose it is, under ``key``.
        stop: Ends the work once nobody waits any more.
    """

    __slots__ = ("_waiting", "answer", "flights", "key", "stop")

    def __init__(
        self,
        flights: "Flights[Answer]",
        key: str,
        answer: "asyncio.Future[Answer]",
        stop: Callable[[], object],
    ) -> None:
        self.answer = answer
        self.flights = flights
        self.key = key
        self.stop = stop
        self._waiting = 0

    def board(self) -> None:
        """Wait, until ``leave``."""
        self._waiting += 1

    def leave(self) -> None:
        """Wait no more; the last to leave before there is an answer ends the work."""
        self._waiting -= 1
        if self._waiting == 0 and not self.answer.done():
            self.flights.forget(self)  # at once: nobody may join what is given up
            self.stop()


class Flights(Generic[Answer]):
    """Computations under way, by key.

    A computation is nobody's own: the caller who started it may go away without taking the answer
    from those who joined. Once all of them have gone away it is cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[str, Flight[Answer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, key: str) -> Flight[Answer] | None:
        """Return the computation under way for ``key``."""
        return self._flights.get(key)

    def begin(self, key: str, answer: "asyncio.Future[Answer]") -> Flight[Answer]:
        """Let others share an answer that is under way; cancelling it ends the work.

        Call it where ``get`` found nothing: one computation per key at a time.
        """
        flight = Flight(self, key, answer, answer.cancel)
        self._flights[key] = flight
        answer.add_done_callback(lambda _: self.forget(flight))
        return flight

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
                    return await self._wait(flight)
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
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        task: asyncio.Task[None] | None = None

        def stop() -> None:
            assert task is not None
            task.cancel()

        flight = Flight(self, key, answer, stop)
        self._flights[key] = flight
        task = asyncio.create_task(self._fly(fly, flight))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await self._wait(flight)

    def forget(self, flight: Flight[Answer]) -> None:
        """Have nobody join a computation any more."""
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    async def close(self) -> None:
        """Wait for the computations under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wait(self, flight: Flight[Answer]) -> Answer:
        flight.board()
        try:
            return await asyncio.shield(flight.answer)
        finally:
            flight.leave()

    async def _fly(
        self, fly: Callable[["asyncio.Future[Answer]"], Awaitable[None]], flight: Flight[Answer]
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
            self.forget(flight)
