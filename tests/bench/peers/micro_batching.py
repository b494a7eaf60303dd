"""A micro-batching queue as teams write it: what waits when the thread is free goes together."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.bench.peers.core import Answer, Request


class MicroBatcher:
    """Collects requests and computes batch after batch in one thread.

    Args:
        work: Answers requests together.
        most: Requests of a batch at most.
    """

    def __init__(self, work: Callable[[Sequence[Request]], list[Answer]], most: int) -> None:
        self._work, self._most = work, most
        self._waiting: asyncio.Queue[tuple[Request, asyncio.Future[Answer]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1)
        self._task: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Answer:
        """Return the answer to a request."""
        loop = asyncio.get_running_loop()
        if self._task is None:
            self._task = loop.create_task(self._compute())
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.put_nowait((request, answer))
        return await answer

    async def _compute(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < self._most and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            requests = [request for request, _ in batch]
            try:
                answers = await loop.run_in_executor(self._thread, self._work, requests)
            except Exception as error:
                for _, waiting in batch:
                    waiting.set_exception(error)
                continue
            for (_, waiting), answer in zip(batch, answers, strict=True):
                if not waiting.cancelled():
                    waiting.set_result(answer)
