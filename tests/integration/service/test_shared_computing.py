"""One computation per key among workers that share a Redis, whoever dies or gives up."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from tests.bundles import item_id
from tests.redis_server import RedisServer
from tests.services import InProcess, ServiceProcess, service_in_process, wait_until

pytestmark = pytest.mark.anyio

MARK = b"opal:computing:"
# Longer than any test waits: what ends earlier was ended by something else.
LONG_MS = 60_000


def body(number: int) -> dict[str, Any]:
    return {"interactions": [item_id(number), item_id(number + 1)], "top_k": 5}


@pytest.fixture
async def client(redis: RedisServer, anyio_backend: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url) as connected:
        yield connected


def service_with(registry: Path, redis: RedisServer, **settings: Any) -> Any:
    """Run a worker that waits for others as long as it takes."""
    patient = {"cache_lock_ms": LONG_MS, "redis_timeout_ms": 1000, "cache_memory_mb": 0}
    return service_in_process(registry, redis_url=redis.url, **(patient | settings))


async def ask(service: InProcess, number: int, **headers: str) -> dict[str, Any]:
    response = await service.client.post("/match", json=body(number), headers=headers)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def waits(service: InProcess, outcome: str) -> float:
    series = f'opal_cache_lock_waits_total{{outcome="{outcome}"}} '
    for line in (await service.client.get("/metrics")).text.splitlines():
        if line.startswith(series):
            return float(line.removeprefix(series))
    return 0.0


async def marks(client: Redis) -> list[bytes]:
    """Return the keys under which somebody says to be computing."""
    keys = [key async for key in client.scan_iter("opal:match:*")]
    values = [await client.get(key) for key in keys]
    return [
        key
        for key, value in zip(keys, values, strict=True)
        if isinstance(value, bytes) and value.startswith(MARK)
    ]


async def key_of(service: InProcess, client: Redis, number: int) -> bytes:
    """Return the key of a request, and leave nothing under it."""
    await ask(service, number)
    (key,) = [key async for key in client.scan_iter("opal:match:*")]
    await client.delete(key)
    return bytes(key)


async def until_none_is_marked(client: Redis) -> None:
    async with asyncio.timeout(10):
        while await marks(client):
            await asyncio.sleep(0.01)


async def test_workers_that_are_asked_the_same_at_once_compute_it_once(
    registry_path: Path, redis: RedisServer, client: Redis
) -> None:
    async with (
        service_with(registry_path, redis) as one,
        service_with(registry_path, redis) as other,
    ):
        asked = [ask(service, 1) for service in (one, other) for _ in range(5)]
        answers = await asyncio.gather(*asked)
        waited = await waits(one, "answered") + await waits(other, "answered")

    assert sorted(answer["source"] for answer in answers) == ["cache"] * 9 + ["model"]
    assert len({str(answer["candidates"]) for answer in answers}) == 1
    assert waited == 1  # one wait for all that were asked of that worker
    assert await marks(client) == []


async def test_without_a_lock_each_worker_computes(
    registry_path: Path, redis: RedisServer, client: Redis
) -> None:
    async with (
        service_with(registry_path, redis, cache_lock_ms=0) as one,
        service_with(registry_path, redis, cache_lock_ms=0) as other,
    ):
        asked = [ask(service, 1) for service in (one, other) for _ in range(5)]
        answers = await asyncio.gather(*asked)
        later = await ask(one, 1)

    assert [answer["source"] for answer in answers].count("model") == 2
    assert later["source"] == "cache"


async def test_a_batch_waits_for_what_others_compute(
    registry_path: Path, redis: RedisServer
) -> None:
    async with (
        service_with(registry_path, redis) as one,
        service_with(registry_path, redis) as other,
    ):
        batch = {"requests": [body(number) for number in range(60)]}
        responses = await asyncio.gather(
            *(service.client.post("/match/batch", json=batch) for service in (one, other))
        )
    results = [response.json()["results"] for response in responses]

    sources = [[each["source"] for each in result] for result in results]
    assert all(sorted(pair) == ["cache", "model"] for pair in zip(*sources, strict=True))
    assert [each["candidates"] for each in results[0]] == [
        each["candidates"] for each in results[1]
    ]


async def test_who_computes_what_is_not_kept_leaves_no_mark(
    registry_path: Path, redis: RedisServer, client: Redis
) -> None:
    async with service_with(registry_path, redis) as one, service_with(registry_path, redis) as two:
        unknown = {"interactions": ["nobody knows this"]}
        asked = [service.client.post("/match", json=unknown) for service in (one, two)]
        answers = [response.json() for response in await asyncio.gather(*asked)]
        await until_none_is_marked(client)

    assert [answer["source"] for answer in answers] == ["fallback"] * 2


async def test_who_is_too_busy_leaves_no_mark(
    registry_path: Path, redis: RedisServer, client: Redis
) -> None:
    async with service_with(registry_path, redis, max_pending=1) as service:
        responses = await asyncio.gather(
            *(service.client.post("/match", json=body(number)) for number in range(30))
        )
        await until_none_is_marked(client)

    assert {response.status_code for response in responses} == {200, 503}


async def test_whose_deadline_passes_leaves_no_mark(
    registry_path: Path, redis: RedisServer, client: Redis
) -> None:
    async with service_with(registry_path, redis) as service:
        slow = [
            service.client.post("/match", json=body(number) | {"top_k": 290, "diversity": 0.5})
            for number in range(60)
        ]
        late = [
            service.client.post("/match", json=body(number), headers={"X-Timeout-Ms": "1"})
            for number in range(100, 110)
        ]
        responses = await asyncio.gather(*slow, *late)
        await until_none_is_marked(client)

    assert 504 in {response.status_code for response in responses[60:]}


async def test_a_mark_that_ends_is_taken_over(
    registry_path: Path, redis: RedisServer, client: Redis
) -> None:
    async with service_with(registry_path, redis) as service:
        key = await key_of(service, client, 1)
        await client.set(key, MARK + b"of another worker", px=100)
        answer = await ask(service, 1)
        again = await ask(service, 1)

        assert (answer["source"], again["source"]) == ("model", "cache")
        assert await waits(service, "taken_over") == 1


async def test_a_mark_that_stays_is_not_waited_for_beyond_the_bound(
    registry_path: Path, redis: RedisServer, client: Redis
) -> None:
    async with service_with(registry_path, redis, cache_lock_ms=30) as service:
        key = await key_of(service, client, 1)
        await client.set(key, MARK + b"of another worker")
        answer = await ask(service, 1)
        again = await ask(service, 1)

        assert (answer["source"], again["source"]) == ("model", "cache")
        assert await waits(service, "timed_out") == 1


async def test_waiting_leaves_the_caller_time_for_the_answer(
    registry_path: Path, redis: RedisServer, client: Redis
) -> None:
    async with service_with(registry_path, redis) as service:
        key = await key_of(service, client, 1)
        await client.set(key, MARK + b"of another worker")
        answer = await ask(service, 1, **{"X-Timeout-Ms": "1000"})

        assert answer["source"] == "model"
        assert await waits(service, "timed_out") == 1


async def test_a_worker_does_not_wait_for_the_mark_of_a_caller_who_went_away(
    registry_path: Path, redis: RedisServer, client: Redis
) -> None:
    async with service_with(registry_path, redis, redis_timeout_ms=5000) as service:
        key = await key_of(service, client, 1)
        redis.freeze()
        gone = asyncio.create_task(service.state["retriever"].cache.get(key.decode()))
        await asyncio.sleep(0.05)
        gone.cancel()
        redis.thaw()
        async with asyncio.timeout(10):
            while not await marks(client):
                await asyncio.sleep(0.01)
        answer = await ask(service, 1)
        again = await ask(service, 1)

        assert (answer["source"], again["source"]) == ("model", "cache")
        assert await waits(service, "timed_out") == await waits(service, "taken_over") == 0


async def test_who_waits_computes_when_redis_freezes(
    registry_path: Path, redis: RedisServer, client: Redis
) -> None:
    async with service_with(registry_path, redis, redis_timeout_ms=100) as service:
        key = await key_of(service, client, 1)
        await client.set(key, MARK + b"of another worker")
        waiting = asyncio.create_task(ask(service, 1))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        redis.freeze()
        answer = await waiting

        assert answer["source"] == "model"
        assert await waits(service, "failed") == 1


async def test_who_leaves_redis_alone_leaves_no_mark_there(
    registry_path: Path, redis: RedisServer
) -> None:
    settings = {"redis_timeout_ms": 50, "breaker_failures": 1, "breaker_seconds": LONG_MS}
    async with service_with(registry_path, redis, **settings) as service:
        redis.freeze()
        assert (await ask(service, 1))["source"] == "model"
        redis.kill()
        redis.start()
        assert (await ask(service, 2))["source"] == "model"
        async with Redis.from_url(redis.url) as client:
            assert [key async for key in client.scan_iter("opal:match:*")] == []


async def test_a_worker_killed_while_it_computes_holds_up_nobody(
    registry_path: Path, redis: RedisServer, client: Redis, tmp_path: Path
) -> None:
    requests = [
        {"interactions": [item_id(number)], "top_k": 290, "diversity": 0.5} for number in range(250)
    ]

    def ask_batch(url: str) -> None:
        with pytest.raises(httpx.HTTPError):  # it is killed
            httpx.post(f"{url}/match/batch", json={"requests": requests}, timeout=60)

    settings = {"redis_url": redis.url, "redis_timeout_ms": 1000, "cache_lock_ms": 2000}
    with (
        BlockingRedis.from_url(redis.url) as watching,
        ServiceProcess(registry_path, tmp_path / "log", workers=1, **settings) as doomed,
    ):
        (worker,) = doomed.worker_pids()
        asking = Thread(target=ask_batch, args=[doomed.url])
        asking.start()
        wait_until(lambda: watching.dbsize() > 200, what="marks")
        os.kill(worker, signal.SIGKILL)
        asking.join()
        left = await marks(client)
        assert left  # nobody is there any more to replace them, nor to take them away

        settings["cache_memory_mb"] = 0
        async with service_in_process(registry_path, **settings) as service:
            response = await service.client.post("/match/batch", json={"requests": requests})
            results = response.json()["results"]
            assert [len(each["candidates"]) for each in results] == [290] * len(requests)
            assert await waits(service, "taken_over") + await waits(service, "timed_out") > 0
    assert await marks(client) == []
