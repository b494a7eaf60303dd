"""The cache against a real Redis that is killed and frozen half-way.

Without memory before it, so that every request asks Redis; ``test_cache_tiers`` has both.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.bundles import item_id
from tests.redis_server import RedisServer
from tests.services import InProcess, service_in_process

pytestmark = pytest.mark.anyio

# What a request may take while Redis is away: some timeouts of 50 ms and the computation.
QUICK = 0.5
TIMEOUT_MS = 50
REST = 0.2


def body(number: int) -> dict[str, Any]:
    return {"interactions": [item_id(number), item_id(number + 1)], "top_k": 5}


@pytest.fixture
async def service(
    registry_path: Path, redis: RedisServer, anyio_backend: str
) -> AsyncIterator[InProcess]:
    settings = {
        "redis_timeout_ms": TIMEOUT_MS,
        "breaker_failures": 2,
        "breaker_seconds": REST,
        "cache_memory_mb": 0,
    }
    async with service_in_process(registry_path, redis_url=redis.url, **settings) as running:
        yield running


async def ask(service: InProcess, number: int) -> tuple[Any, float]:
    """Return an answer and the seconds that it took."""
    start = time.perf_counter()
    response = await service.client.post("/match", json=body(number))
    seconds = time.perf_counter() - start
    assert response.status_code == 200, response.text
    return response.json(), seconds


async def breaker_state(service: InProcess) -> float:
    text = (await service.client.get("/metrics")).text
    (line,) = [each for each in text.splitlines() if each.startswith("opal_cache_breaker_state ")]
    return float(line.split()[1])


async def test_a_hit_equals_the_miss(service: InProcess) -> None:
    miss, _ = await ask(service, 1)
    hit, _ = await ask(service, 1)

    assert (miss.pop("source"), hit.pop("source")) == ("model", "cache")
    del miss["request_id"], hit["request_id"]
    assert hit == miss


async def test_another_worker_finds_the_answer(
    service: InProcess, registry_path: Path, redis: RedisServer
) -> None:
    await ask(service, 1)
    async with service_in_process(registry_path, redis_url=redis.url) as other:
        answer, _ = await ask(other, 1)

    assert answer["source"] == "cache"


async def test_every_key_names_the_bundle_and_expires(
    service: InProcess, redis: RedisServer
) -> None:
    await ask(service, 1)
    version = service.state["live"].version
    async with Redis.from_url(redis.url) as client:
        keys = [key async for key in client.scan_iter()]
        lives = [await client.pttl(key) for key in keys]

    assert len(keys) == 1
    assert keys[0].decode().startswith(f"opal:match:3:{version}:")
    # Of the 300 s some are left for copies in memory, and each life is a bit shorter.
    assert 240_000 < lives[0] <= 270_000


async def test_answers_go_on_when_redis_is_killed_and_use_it_when_it_is_back(
    service: InProcess, redis: RedisServer
) -> None:
    await ask(service, 1)
    redis.kill()
    for number in range(10, 15):
        answer, seconds = await ask(service, number)
        assert answer["source"] == "model"
        assert seconds < QUICK
    assert await breaker_state(service) == 2

    redis.start()
    await asyncio.sleep(REST * 1.5)
    await ask(service, 20)  # the trial; its answer is stored
    answer, _ = await ask(service, 20)

    assert answer["source"] == "cache"
    assert await breaker_state(service) == 0


async def test_answers_go_on_when_redis_freezes(service: InProcess, redis: RedisServer) -> None:
    await ask(service, 1)
    redis.freeze()
    slow = [await ask(service, number) for number in range(30, 34)]
    quick = [await ask(service, number) for number in range(4, 24)]
    assert all(answer["source"] == "model" for answer, _ in [*slow, *quick])
    assert max(seconds for _, seconds in [*slow, *quick]) < QUICK
    # While the breaker is open nobody waits for Redis at all.
    assert sorted(seconds for _, seconds in quick)[len(quick) // 2] < TIMEOUT_MS / 1000
    text = (await service.client.get("/metrics")).text
    assert 'opal_cache_errors_total{call="get"}' in text

    redis.thaw()
    await asyncio.sleep(REST * 1.5)
    await ask(service, 40)
    answer, _ = await ask(service, 40)
    assert answer["source"] == "cache"


async def test_many_at_once_while_redis_freezes_are_all_answered(
    service: InProcess, redis: RedisServer
) -> None:
    redis.freeze()
    start = time.perf_counter()
    answers = await asyncio.gather(*(ask(service, number) for number in range(60)))

    assert len(answers) == 60
    assert time.perf_counter() - start < 3


async def test_a_batch_is_answered_whatever_happens_to_redis(
    service: InProcess, redis: RedisServer
) -> None:
    async def ask_batch(first: int) -> list[str]:
        requests = [body(number) for number in range(first, first + 40)]
        response = await service.client.post("/match/batch", json={"requests": requests})
        return [each["source"] for each in response.json()["results"]]

    assert await ask_batch(0) == ["model"] * 40
    assert await ask_batch(0) == ["cache"] * 40
    # Others each time: what is not stored yet would be shared.
    redis.freeze()
    assert await ask_batch(50) == ["model"] * 40
    redis.kill()
    assert await ask_batch(100) == ["model"] * 40
    redis.start()
    await asyncio.sleep(REST * 1.5)
    await ask_batch(150)
    assert await ask_batch(150) == ["cache"] * 40


async def test_a_full_redis_still_gives_what_it_has(service: InProcess, redis: RedisServer) -> None:
    await ask(service, 1)
    async with Redis.from_url(redis.url) as client:
        await client.config_set("maxmemory", 1)
        known, _ = await ask(service, 1)
        other, _ = await ask(service, 2)

    assert (known["source"], other["source"]) == ("cache", "model")
    text = (await service.client.get("/metrics")).text
    assert 'opal_cache_errors_total{call="put"} 1.0' in text
    assert 'opal_cache_errors_total{call="get"}' not in text


async def test_a_value_that_is_none_of_ours_does_no_harm(
    service: InProcess, redis: RedisServer
) -> None:
    await ask(service, 1)
    async with Redis.from_url(redis.url) as client:
        (key,) = [key async for key in client.scan_iter()]
        await client.delete(key)
        await client.lpush(key, "a list")
    answer, _ = await ask(service, 1)

    assert answer["source"] == "model"


@pytest.mark.parametrize("damage", [b"", b"{}", b"short", None])
async def test_a_damaged_answer_is_a_miss_and_is_stored_anew(
    service: InProcess, redis: RedisServer, damage: bytes | None
) -> None:
    first, _ = await ask(service, 1)
    async with Redis.from_url(redis.url) as client:
        (key,) = [key async for key in client.scan_iter()]
        stored = await client.get(key)
        assert isinstance(stored, bytes)
        await client.set(key, stored[:-1] if damage is None else damage)
    second, _ = await ask(service, 1)
    third, _ = await ask(service, 1)

    assert (second["source"], third["source"]) == ("model", "cache")
    assert first["candidates"] == second["candidates"] == third["candidates"]
    text = (await service.client.get("/metrics")).text
    assert 'opal_cache_errors_total{call="get"} 1.0' in text
    assert await breaker_state(service) == 0


async def test_an_answer_under_another_key_is_a_miss(
    service: InProcess, redis: RedisServer
) -> None:
    await ask(service, 1)
    async with Redis.from_url(redis.url) as client:
        (first,) = [key async for key in client.scan_iter()]
        await ask(service, 2)
        (second,) = [key async for key in client.scan_iter() if key != first]
        await client.copy(first, second, replace=True)
    answer, _ = await ask(service, 2)

    assert answer["source"] == "model"


async def test_equal_requests_at_once_are_computed_once(service: InProcess) -> None:
    answers = await asyncio.gather(*(ask(service, 1) for _ in range(20)))
    sources = [answer["source"] for answer, _ in answers]

    assert sources.count("model") == 1
    assert sources.count("cache") == 19


async def test_an_unreachable_redis_does_not_keep_the_service_from_starting(
    registry_path: Path,
) -> None:
    async with service_in_process(registry_path, redis_url="redis://127.0.0.1:1/0") as service:
        answer, seconds = await ask(service, 1)

    assert answer["source"] == "model"
    assert seconds < QUICK
