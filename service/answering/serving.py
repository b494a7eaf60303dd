"""Match requests answered from the cache or by computation: what routes call.

Puts together what knows nothing of each other: the live bundle, the cache, the computations under
way, and the queue in front of the thread that computes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

import orjson

from index.bundles.bundle import Bundle
from index.search.withheld import Withheld
from service.answering.batching import MicroBatcher
from service.answering.flights import Flights
from service.answering.matching import match_together
from service.answering.work import WorkQueue
from service.api.query import Query
from service.caching.cache import AnswerCache, cache_key
from service.live.live import LiveBundle
from service.live.withholding import TakedownsInForce
from service.monitoring.metrics import Metrics, Tier

Result = TypeVar("Result")


class Found(NamedTuple):
    """An answer without its request's id.

    Attributes:
        source: Where it came from.
        stored: ``service.api.answers.StoredAnswer`` as JSON.
    """

    source: Literal["model", "cache", "fallback"]
    stored: bytes


class Computed(NamedTuple):
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
    flights: Flights[Computed]
    queue: WorkQueue
    batcher: MicroBatcher[tuple[Bundle, Query], Computed]
    metrics: Metrics
    batch_turns: int = 1
    turns: asyncio.Semaphore | None = None

    async def answer(
        self, query: Query, request_id: str, *, deadline: float | None = None
    ) -> bytes:
        """Return the answer to a query as JSON (``service.api.answers.MatchAnswer``).

        Args:
            query: What is asked.
            request_id: Put into the answer.
            deadline: ``time.monotonic()`` after which nobody waits for it.

        Raises:
            NotReady: No bundle is live.
            Overloaded: Too much waits already.
            DeadlinePassed: The deadline passed before work began.
        """
        found, tier = await self.find(query, deadline=deadline)
        self.metrics.note_answer(found.source, tier)
        return as_answer(found, request_id)

    async def find(
        self, query: Query, *, deadline: float | None = None
    ) -> tuple[Found, Tier | None]:
        """Find the answer to a query, and what had it; None where no cache was asked.

        Raises as ``answer`` does.
        """
        # One reference for the whole request: a swap meanwhile does not touch it.
        bundle = self.live.get()
        if not query.history:
            # Most new users have no history; their answer costs less than a look-up.
            return (await self._compute_in_turn(bundle, query, deadline)).found, None
        epoch = self.live.takedowns.epoch
        key = cache_key(bundle.version, epoch, query)
        # Most hits are this one: whatever waits, or is more than looking it up, comes after.
        stored = self.cache.recall(key)
        if stored is not None:
            return Found("cache", stored), "memory"
        return await self.find_elsewhere(bundle, query, epoch, key, deadline)

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

    async def find_elsewhere(
        self, bundle: Bundle, query: Query, epoch: str, key: str, deadline: float | None = None
    ) -> tuple[Found, Tier]:
        """Find an answer that is not in memory: under way, in the shared cache, or computed.

        Args:
            bundle: To answer from.
            query: What is asked.
            epoch: Of the takedowns in force.
            key: ``cache_key`` of all that.
            deadline: ``time.monotonic()`` after which nobody waits for it.

        Raises as ``answer`` does.
        """

        async def fly(answer: asyncio.Future[Computed]) -> None:
            if self.cache.is_shared:
                with self.metrics.stage("cache"):
                    stored = await self.cache.get(key, deadline=deadline)
                # While the cache was asked, what it answers may have been taken down.
                if stored is not None and epoch == self.live.takedowns.epoch:
                    answer.set_result(Computed(epoch, Found("cache", stored)))
                    return
            kept_under = None
            try:
                computed = await self._compute_in_turn(bundle, query, deadline)
                answer.set_result(computed)
                kept_under = key_to_keep(computed, bundle.version, query, epoch, key)
                if kept_under is not None:
                    await self.cache.put(kept_under, computed.found.stored)
            finally:
                if kept_under != key:
                    self.cache.give_up(key)

        shared = await self.flights.join(key, deadline=deadline)
        computed = shared or await self.flights.start(key, fly)
        return as_told(computed.found, by_another=shared is not None)

    async def _compute_in_turn(
        self, bundle: Bundle, query: Query, deadline: float | None
    ) -> Computed:
        """Compute; of a batch only some at a time."""
        if self.turns is None:
            return await self.batcher.run((bundle, query), deadline=deadline)
        async with self.turns:
            return await self.batcher.run((bundle, query), deadline=deadline)


def as_told(found: Found, *, by_another: bool) -> tuple[Found, Tier]:
    """Return what the caller of a flight is told, and what had it.

    Args:
        found: What the flight brought.
        by_another: Another call began it.
    """
    if by_another and found.source == "model":
        return Found("cache", found.stored), "flight"
    return found, "redis" if found.source == "cache" else "none"


def as_answer(found: Found, request_id: str) -> bytes:
    """Return what is sent: ``service.api.answers.MatchAnswer`` as JSON."""
    head = orjson.dumps({"request_id": request_id, "source": found.source})
    return head[:-1] + b"," + found.stored[1:]


def key_to_keep(
    computed: Computed, bundle_version: str, query: Query, epoch: str, key: str
) -> str | None:
    """Return what to keep a computed answer under; None: not at all.

    Args:
        computed: The answer.
        bundle_version: Of the bundle that answered.
        query: What was asked.
        epoch: Of the takedowns in force when it was asked.
        key: What others look for with that epoch.
    """
    # Popular items are quicker to find than to look up, and a stored answer would not tell that it
    # is a fallback.
    if computed.found.source != "model":
        return None
    # Under the takedowns that it was computed with: while it waited for its turn they may have
    # changed, and they may change back.
    return key if computed.epoch == epoch else cache_key(bundle_version, computed.epoch, query)


def compute_together(
    tasks: Sequence[tuple[Bundle, Query]], *, takedowns: TakedownsInForce, metrics: Metrics
) -> list[Computed]:
    """Answer queries, each from its own bundle: during a swap there are two.

    Args:
        tasks: Bundle and query of each.
        takedowns: In force at the moment that the work begins: what waits in the queue must not
            serve what was taken down meanwhile.
        metrics: Told how long the stages take.

    Returns:
        The answers, in the order of the queries.
    """
    results: dict[int, Computed] = {}
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
            number: Computed(
                epoch, Found("fallback" if answer.is_fallback else "model", answer.stored)
            )
            for number, answer in zip(numbers, answers, strict=True)
        }
    return [results[number] for number in range(len(tasks))]
