"""Match requests answered from the cache or by computation: what routes call.

Puts together what knows nothing of each other: the live bundle, the cache, the computations under
way, and the queue in front of the thread that computes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

import orjson

from index.bundle import Bundle
from index.withheld import Withheld
from service.batching import MicroBatcher
from service.cache import AnswerCache, cache_key
from service.flights import Flights
from service.live import LiveBundle
from service.matching import Match, match_together
from service.metrics import Metrics, Tier
from service.query import Query
from service.withholding import TakedownsInForce
from service.work import WorkQueue

Result = TypeVar("Result")


class Found(NamedTuple):
    """An answer without its request's id.

    Attributes:
        source: Where it came from.
        stored: ``answers.StoredAnswer`` as JSON.
    """

    source: Literal["model", "cache", "fallback"]
    stored: bytes


class _Computed(NamedTuple):
    """An answer, and the epoch of the takedowns that it was computed with."""

    epoch: str
    found: Found


@dataclass(frozen=True)
class Retriever:
    """Answers queries from the live bundle.

    Attributes:
        live: The bundle to answer from, and what must not be served of it.
        cache: Answers of equal queries on the same bundle.
        flights: Computations under way, which equal queries join.
        queue: Runs computations off the event loop.
        batcher: Puts queries together, in that queue.
        metrics: Told of every answer.
        batch_turns: Computations of one batch that may wait or run at a time.
        turns: Those of this batch; None outside of one.
    """

    live: LiveBundle
    cache: AnswerCache
    flights: Flights[Found]
    queue: WorkQueue
    batcher: MicroBatcher[tuple[Bundle, Query], tuple[str, Match]]
    metrics: Metrics
    batch_turns: int = 1
    turns: asyncio.Semaphore | None = None

    async def answer(
        self, query: Query, request_id: str, *, deadline: float | None = None
    ) -> bytes:
        """Return the answer to a query as JSON (``answers.MatchAnswer``).

        Args:
            query: What is asked.
            request_id: Put into the answer.
            deadline: ``time.monotonic()`` after which nobody waits for it.

        Raises:
            NotReady: No bundle is live.
            Overloaded: Too much waits already.
            DeadlinePassed: The deadline passed before work began.
        """
        # One reference for the whole request: a swap meanwhile does not touch it.
        bundle = self.live.get()
        tier: Tier | None = None
        if query.history:
            epoch = self.live.takedowns.epoch
            key = cache_key(bundle.version, epoch, query)
            # Most hits are this one: whatever waits, or is more than looking it up, comes after.
            stored = self.cache.recall(key)
            if stored is None:
                found, tier = await self._find(bundle, query, epoch, key, deadline)
            else:
                found, tier = Found("cache", stored), "memory"
        else:
            # Most new users have no history; their answer costs less than a look-up.
            found = (await self._compute_in_turn(bundle, query, deadline)).found
        self.metrics.note_answer(found.source, tier)
        head = orjson.dumps({"request_id": request_id, "source": found.source})
        return head[:-1] + b"," + found.stored[1:]

    def for_batch(self) -> "Retriever":
        """Return one for many answers of one call, all at once.

        It stays on the bundle that is live now, and has no more than ``batch_turns`` computations
        wait or run: a batch neither fills the queue with its own requests nor keeps out others.
        """
        turns = asyncio.Semaphore(self.batch_turns)
        return replace(self, live=self.live.pinned(), turns=turns)

    async def compute(
        self, work: Callable[[Bundle, Withheld], Result], *, deadline: float | None = None
    ) -> Result:
        """Run ``work`` off the event loop, on the live bundle and the rows of it not to serve.

        Raises as ``answer`` does.
        """
        bundle = self.live.get()
        takedowns = self.live.takedowns
        return await self.queue.run(
            lambda: work(bundle, takedowns.on(bundle).items), deadline=deadline
        )

    async def close(self) -> None:
        """Finish the computations under way and close the cache."""
        await self.flights.close()
        self.queue.close()
        await self.cache.close()

    async def _find(
        self, bundle: Bundle, query: Query, epoch: str, key: str, deadline: float | None
    ) -> tuple[Found, Tier]:
        """Find an answer that is not in memory: under way, in the shared cache, or computed."""

        async def fly(answer: asyncio.Future[Found]) -> None:
            if self.cache.is_shared:
                with self.metrics.stage("cache"):
                    stored = await self.cache.get(key, deadline=deadline)
                # While the cache was asked, what it answers may have been taken down.
                if stored is not None and epoch == self.live.takedowns.epoch:
                    answer.set_result(Found("cache", stored))
                    return
            kept_under = None
            try:
                computed = await self._compute_in_turn(bundle, query, deadline)
                answer.set_result(computed.found)
                # Popular items are quicker to find than to look up, and a stored answer would not
                # tell that it is a fallback.
                if computed.found.source == "model":
                    # Under the takedowns that it was computed with: while it waited for its turn
                    # they may have changed, and they may change back.
                    kept_under = (
                        key
                        if computed.epoch == epoch
                        else cache_key(bundle.version, computed.epoch, query)
                    )
                    await self.cache.put(kept_under, computed.found.stored)
            finally:
                if kept_under != key:
                    self.cache.give_up(key)

        found = await self.flights.join(key, deadline=deadline)
        if found is not None and found.source == "model":
            return Found("cache", found.stored), "flight"
        found = found or await self.flights.start(key, fly)
        return found, "redis" if found.source == "cache" else "none"

    async def _compute_in_turn(
        self, bundle: Bundle, query: Query, deadline: float | None
    ) -> _Computed:
        """Compute; of a batch only some at a time."""
        if self.turns is None:
            return await self._compute(bundle, query, deadline)
        async with self.turns:
            return await self._compute(bundle, query, deadline)

    async def _compute(self, bundle: Bundle, query: Query, deadline: float | None) -> _Computed:
        epoch, result = await self.batcher.run((bundle, query), deadline=deadline)
        return _Computed(epoch, Found("fallback" if result.is_fallback else "model", result.stored))


def compute_together(
    tasks: Sequence[tuple[Bundle, Query]], *, takedowns: TakedownsInForce, metrics: Metrics
) -> list[tuple[str, Match]]:
    """Answer queries, each from its own bundle: during a swap there are two.

    Args:
        tasks: Bundle and query of each.
        takedowns: In force at the moment that the work begins: what waits in the queue must not
            serve what was taken down meanwhile.
        metrics: Told how long the stages take.

    Returns:
        For each the epoch of the takedowns that it was computed with, and the answer.
    """
    results: dict[int, tuple[str, Match]] = {}
    for bundle in {id(bundle): bundle for bundle, _ in tasks}.values():
        numbers = [number for number, (its, _) in enumerate(tasks) if its is bundle]
        epoch, withheld = takedowns.on(bundle)
        queries = [tasks[number][1] for number in numbers]
        answers = match_together(bundle, queries, withheld=withheld, stage=metrics.stage)
        metrics.note_matches(
            known_items=sum(answer.known_items for answer in answers),
            unknown_items=sum(answer.unknown_items for answer in answers),
            interests_in_use=[each.interests_in_use for each in answers if not each.is_fallback],
        )
        results |= {
            number: (epoch, answer) for number, answer in zip(numbers, answers, strict=True)
        }
    return [results[number] for number in range(len(tasks))]
