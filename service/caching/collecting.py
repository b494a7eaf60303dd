"""Calls that are made in the same turn of the event loop, made as one.

Nothing waits for company: what is there when the loop comes round goes together. Alone a call is
as quick as before; of many at once all but the first cost next to nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Waiting(NamedTuple, Generic[Item, Result]):
    """One call, and where its result goes."""

    item: Item
    result: asyncio.Future[Result]


class Collector(Generic[Item, Result]):
    """Turns a call for many items into one for a single item.

    Args:
        call_all: Makes the call: items in, as many results out, in the same order.
        most: Items in one call; more are several calls at the same time.
    """

    def __init__(
        self, call_all: Callable[[list[Item]], Awaitable[list[Result]]], *, most: int
    ) -> None:
        self._call_all = call_all
        self._most = most
        self._waiting: list[_Waiting[Item, Result]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def call(self, item: Item) -> asyncio.Future[Result]:
        """Make the call for one item, together with those that others make now.

        Returns:
            What to await for the result, or for what the call raised; nobody has to.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._send)
        waiting = _Waiting(item, loop.create_future())
        self._waiting.append(waiting)
        return waiting.result

    async def close(self) -> None:
        """Wait for the calls under way."""
        self._send()
        await asyncio.gather(*self._tasks)

    def _send(self) -> None:
        # Not for those who have gone away.
        waiting = [each for each in self._waiting if not each.result.done()]
        self._waiting = []
        for start in range(0, len(waiting), self._most):
            task = asyncio.create_task(self._make(waiting[start : start + self._most]))
            self._tasks.add(task)  # the loop itself keeps no reference
            task.add_done_callback(self._tasks.discard)

    async def _make(self, waiting: list[_Waiting[Item, Result]]) -> None:
        try:
            results = await self._call_all([each.item for each in waiting])
        except Exception as error:
            for each in waiting:
                if not each.result.done():  # its caller may have gone away
                    each.result.set_exception(error)
            return
        for each, result in zip(waiting, results, strict=True):
            if not each.result.done():
                each.result.set_result(result)
