"""Callers who wait for one answer by callbacks; the computation is held while they come and go."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest

from index.bundles.bundle import Bundle
from service.answering.batching import MicroBatcher
from service.answering.inquiry import Inquiry
from service.answering.serving import Computed, Found, Retriever, compute_together
from service.api.problems import DeadlinePassed, Overloaded
from service.api.query import Query
from tests.bundles import item_id
from tests.services import InProcess

pytestmark = pytest.mark.anyio

QUERY = Query(history=(item_id(1), item_id(5)), top_k=5)


class Caller:
    """Asks, and notes what it was told."""

    def __init__(
        self, retriever: Retriever, query: Query = QUERY, *, seconds: float | None = None
    ) -> None:
        self.found: list[Found] = []
        self.failed: list[Exception] = []
        deadline = None if seconds is None else time.monotonic() + seconds
        self.inquiry = Inquiry(
            retriever,
            query,
            deadline,
            request_id="caller",
            found=self.found.append,
            failed=self.failed.append,
        )
        self.inquiry.begin()

    async def told(self) -> None:
        async with asyncio.timeout(5):
            while not self.found and not self.failed:
                await asyncio.sleep(0.001)


class Held:
    """A retriever whose computations wait until they are let go on."""

    def __init__(self, retriever: Retriever) -> None:
        self.may_go_on = threading.Event()
        self.computed = 0
        self.takedowns = retriever.live.takedowns

        def compute(tasks: Sequence[tuple[Bundle, Query]]) -> list[Computed]:
            assert self.may_go_on.wait(5)
            self.computed += len(tasks)
            if any(query.top_k == 13 for _, query in tasks):
                raise ZeroDivisionError("13")
            return compute_together(tasks, takedowns=self.takedowns, metrics=retriever.metrics)

        batcher = MicroBatcher(
            compute, queue=retriever.queue, max_batch=1, max_wait=0, metrics=retriever.metrics
        )
        self.retriever = replace(retriever, batcher=batcher)


@asynccontextmanager
async def holding(service: InProcess) -> AsyncIterator[Held]:
    held = Held(service.state["retriever"])
    try:
        yield held
    finally:
        held.may_go_on.set()


def candidates(caller: Caller) -> list[str]:
    answer = orjson.loads(caller.found[0].stored)
    return [each["item_id"] for each in answer["candidates"]]


def lookups(service: InProcess, result: str, tier: str) -> Any:
    return service.state["metrics"].cache_lookups.labels(result, tier)._value.get()


async def test_equal_ones_wait_for_one_computation_and_later_ones_for_none(
    service: InProcess,
) -> None:
    async with holding(service) as held:
        callers = [Caller(held.retriever) for _ in range(3)]
        held.may_go_on.set()
        for caller in callers:
            await caller.told()
        later = Caller(held.retriever)

        assert held.computed == 1
        assert [caller.found[0].source for caller in callers] == ["model", "cache", "cache"]
        # At once, before the loop has turned.
        assert later.found == [Found("cache", callers[0].found[0].stored)]
        assert lookups(service, "miss", "none") == 1
        assert lookups(service, "hit", "flight") == 2
        assert lookups(service, "hit", "memory") == 1


async def test_the_first_may_leave_and_the_last_ends_the_work(service: InProcess) -> None:
    async with holding(service) as held:
        busy = Caller(held.retriever, replace(QUERY, top_k=6))
        first, second = Caller(held.retriever), Caller(held.retriever)
        await asyncio.sleep(0.01)
        first.inquiry.leave()
        third = Caller(held.retriever)
        second.inquiry.leave()
        given_up = Caller(held.retriever, replace(QUERY, top_k=7))
        given_up.inquiry.leave()
        held.may_go_on.set()
        await busy.told()
        await third.told()

        assert held.computed == 2
        assert len(third.found) == 1
        for gone in (first, second, given_up):
            assert gone.found == []
            assert gone.failed == []
        assert service.state["retriever"].queue._pending == 0


async def test_who_leaves_when_its_answer_is_there_is_not_told(service: InProcess) -> None:
    async with holding(service) as held:
        caller = Caller(held.retriever)
        flight = caller.inquiry._flight
        assert flight is not None
        held.may_go_on.set()
        while not flight.answer.done():
            await asyncio.sleep(0)
            if flight.answer.done():
                caller.inquiry.leave()
        await asyncio.sleep(0.01)

        assert caller.found == []
        assert caller.failed == []


async def test_the_deadline_of_who_joins_is_its_own(service: InProcess) -> None:
    async with holding(service) as held:
        first, second = Caller(held.retriever), Caller(held.retriever, seconds=0.02)
        await second.told()
        held.may_go_on.set()
        await first.told()

        assert isinstance(second.failed[0], DeadlinePassed)
        assert first.found[0].source == "model"


async def test_the_deadline_of_the_first_is_not_that_of_who_joined(service: InProcess) -> None:
    async with holding(service) as held:
        busy = Caller(held.retriever, replace(QUERY, top_k=6))
        await asyncio.sleep(0.01)
        first = Caller(held.retriever, seconds=0.02)
        second, third = Caller(held.retriever), Caller(held.retriever, seconds=30)
        await first.told()
        held.may_go_on.set()
        for caller in (busy, second, third):
            await caller.told()

        assert isinstance(first.failed[0], DeadlinePassed)
        assert second.found[0].stored == third.found[0].stored
        assert held.computed == 2


async def test_a_failure_reaches_all_who_wait_and_is_not_kept(service: InProcess) -> None:
    async with holding(service) as held:
        query = replace(QUERY, top_k=13)
        callers = [Caller(held.retriever, query) for _ in range(2)]
        held.may_go_on.set()
        for caller in callers:
            await caller.told()
            assert isinstance(caller.failed[0], ZeroDivisionError)
        again = Caller(held.retriever, query)
        await again.told()

        assert again.failed


async def test_a_full_queue_refuses_before_anything_waits(service: InProcess) -> None:
    async with holding(service) as held:
        most = held.retriever.queue._max_pending
        callers = [Caller(held.retriever, replace(QUERY, top_k=100 + n)) for n in range(most)]
        one_more = Caller(held.retriever, replace(QUERY, top_k=99))
        joining = Caller(held.retriever, callers[0].inquiry._query)
        held.may_go_on.set()
        for caller in (*callers, joining):
            await caller.told()

        assert isinstance(one_more.failed[0], Overloaded)
        assert joining.found[0].source == "cache"
        assert not any(caller.failed for caller in callers)


async def test_what_was_computed_before_a_takedown_is_not_kept_for_after_it(
    service: InProcess,
) -> None:
    async with holding(service) as held:
        before = Caller(held.retriever)
        held.may_go_on.set()
        await before.told()
        first = candidates(before)[0]
        response = await service.client.put(f"/admin/takedowns/{first}", json={})
        assert response.status_code in (200, 201)
        after = Caller(held.retriever)
        await after.told()

        assert after.found[0].source == "model"
        assert first not in candidates(after)


async def test_who_has_no_history_gets_what_is_popular(service: InProcess) -> None:
    caller = Caller(service.state["retriever"], Query(history=(), top_k=3))
    await caller.told()

    assert caller.found[0].source == "fallback"


async def test_a_fault_in_sending_an_answer_is_not_answered_once_more(service: InProcess) -> None:
    retriever = service.state["retriever"]
    await Caller(retriever).told()
    failed: list[Exception] = []

    def broken(found: Found) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        Inquiry(
            retriever, QUERY, None, request_id="caller", found=broken, failed=failed.append
        ).begin()
    assert failed == []
