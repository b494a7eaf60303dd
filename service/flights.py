"""One computation per key at a time: equal requests that arrive together share one answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from service.problems import DeadlinePassed

Answer = TypeVar("Answer")

_logger = logging.getLogger(__name__)


class Flights(Generic[Answer]):
    """Computations under way, by key.

    A computation runs as a task of its own: the caller who started it may go away without taking
    the answer from those who joined.
    """

    def __init__(self) -> None:
        self._answers: dict[str, asyncio.Future[Answer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self, key: str) -> Answer | None:
        """Wait for the computation under way for ``key``; None where there is none to share.

        Raises:
            Exception: What the computation raised.
        """
        while (answer := self._answers.get(key)) is not None:
            try:
                return await asyncio.shield(answer)
            except DeadlinePassed:
                continue  # that was the deadline of the one who started it, not ours
        return None

    async def start(
        self, key: str, fly: Callable[[asyncio.Future[Answer]], Awaitable[None]]
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
        self._answers[key] = answer
        task = asyncio.create_task(self._fly(key, fly, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(answer)

    async def close(self) -> None:
        """Wait for the computations under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fly(
        self,
        key: str,
        fly: Callable[[asyncio.Future[Answer]], Awaitable[None]],
        answer: asyncio.Future[Answer],
    ) -> None:
        try:
            await fly(answer)
        except Exception as error:
            if answer.done():
                _logger.exception("what followed an answer failed")
            else:
                answer.set_exception(error)
                answer.exception()  # mark as seen: every caller may have gone away
        finally:
            del self._answers[key]
