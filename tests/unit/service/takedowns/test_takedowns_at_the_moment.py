"""What is taken down while an answer is under way."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest

from index.bundles.bundle import Bundle
from service.answering.matching import Match, match_together
from service.caching.cache import TieredCache
from tests.bundles import item_id
from tests.services import InProcess
from tests.takedowns import HISTORY, candidates, path_of, put

pytestmark = pytest.mark.anyio


class Gate:
    """Holds the first computation until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self._opened = threading.Event(), threading.Event()
        monkeypatch.setattr("service.answering.serving.match_together", self._match)

    def _match(self, *arguments: Any, **options: Any) -> list[Match]:
        self.reached.set()
        assert self._opened.wait(5)
        return match_together(*arguments, **options)

    async def when_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 5)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
async def gate(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open()


async def test_an_answer_that_is_being_computed_is_not_shared_with_those_after_a_takedown(
    service: InProcess, bundle: Bundle, gate: Gate
) -> None:
    before = asyncio.create_task(candidates(service))
    await gate.when_reached()
    rows = bundle.catalog.rows_of(HISTORY)
    best = (bundle.encoder.item_vectors @ bundle.encoder.encode(rows).vectors.T).max(axis=1)
    best[rows] = -1
    taken = item_id(int(best.argmax()))
    await put(service, taken)
    after = asyncio.create_task(candidates(service))
    await asyncio.sleep(0.05)
    gate.open()

    assert taken in await before
    assert taken not in await after
    assert taken not in await candidates(service)  # from the cache


async def test_what_waits_for_its_turn_goes_by_the_takedowns_when_it_comes(
    service: InProcess, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await candidates(service, exclude=["another query"])
    gate = Gate(monkeypatch)
    first = asyncio.create_task(candidates(service, top_k=3))
    await gate.when_reached()
    waiting = asyncio.create_task(candidates(service))
    await asyncio.sleep(0.05)
    await put(service, expected[0])
    gate.open()
    await first
    assert expected[0] not in await waiting

    # Nor is it kept as the answer without that takedown.
    await service.client.delete(path_of(expected[0]))
    assert await candidates(service) == expected


async def test_a_hit_that_was_taken_down_while_the_cache_was_asked_is_no_answer(
    service: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await candidates(service)
    cache = service.state["retriever"].cache
    memory = cast("TieredCache", cache)._memory
    (stored,) = [kept.answer for kept in memory._kept.values()]

    async def get_slowly(*_: object, **__: object) -> bytes:
        await put(service, before[0])
        return stored  # as Redis would, asked before

    monkeypatch.setattr(cache, "recall", lambda _: None)
    monkeypatch.setattr(type(cache), "is_shared", True)
    monkeypatch.setattr(cache, "get", get_slowly)
    assert before[0] not in await candidates(service)


async def test_a_batch_leaves_out_what_is_taken_down_in_its_middle(
    service: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = (await candidates(service))[0]
    gate = Gate(monkeypatch)
    # More than are computed together: the last ones wait for the first.
    requests = [{"interactions": HISTORY, "top_k": 3, "exclude": [str(n)]} for n in range(100)]
    batch = asyncio.create_task(service.client.post("/match/batch", json={"requests": requests}))
    await gate.when_reached()
    await put(service, taken)
    gate.open()
    response: httpx.Response = await batch
    results = response.json()["results"]
    first, last = ([each["item_id"] for each in results[n]["candidates"]] for n in (0, -1))

    assert taken in first
    assert taken not in last
