"""Memory and a real Redis together: who is asked for what, and that neither serves what is over."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from index.registry.registry import Registry
from tests.bundles import item_id
from tests.redis_server import RedisServer
from tests.service_load import Load
from tests.services import InProcess, ServiceProcess, service_in_process, wait_until

pytestmark = pytest.mark.anyio


def body(number: int) -> dict[str, Any]:
    return {"interactions": [item_id(number), item_id(number + 1)], "top_k": 5}


@pytest.fixture
async def services(
    registry_path: Path, redis: RedisServer, anyio_backend: str
) -> AsyncIterator[tuple[InProcess, InProcess]]:
    """Two workers with one Redis."""
    settings = {"redis_url": redis.url, "redis_timeout_ms": 1000}
    async with (
        service_in_process(registry_path, **settings) as one,
        service_in_process(registry_path, **settings) as other,
    ):
        yield one, other


@pytest.fixture
async def client(redis: RedisServer, anyio_backend: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url) as connected:
        yield connected


async def ask(service: InProcess, number: int) -> dict[str, Any]:
    response = await service.client.post("/match", json=body(number))
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def metric(service: InProcess, series: str) -> float:
    for line in (await service.client.get("/metrics")).text.splitlines():
        if line.startswith(f"{series} "):
            return float(line.rpartition(" ")[2])
    return 0.0


async def look_ups(service: InProcess) -> dict[str, float]:
    """Return the look-ups by tier."""
    series = "opal_cache_lookups_total"
    hits = {
        tier: await metric(service, f'{series}{{result="hit",tier="{tier}"}}')
        for tier in ("memory", "redis", "flight")
    }
    return hits | {"none": await metric(service, f'{series}{{result="miss",tier="none"}}')}


async def calls(client: Redis, command: str) -> int:
    """Return how often Redis has run a command, in scripts too."""
    statistics = await client.info("commandstats")
    return int(statistics.get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def test_each_tier_is_asked_only_for_what_the_one_before_does_not_have(
    services: tuple[InProcess, InProcess], client: Redis
) -> None:
    one, other = services
    sources = [(await ask(service, 1))["source"] for service in (one, one, other, other)]

    assert sources == ["model", "cache", "cache", "cache"]
    assert await look_ups(one) == {"memory": 1, "redis": 0, "flight": 0, "none": 1}
    assert await look_ups(other) == {"memory": 1, "redis": 1, "flight": 0, "none": 0}
    assert await calls(client, "mget") == 2


async def test_all_tiers_give_the_same_answer(services: tuple[InProcess, InProcess]) -> None:
    one, other = services
    answers = [await ask(service, 1) for service in (one, one, other, other)]
    for answer in answers:
        del answer["request_id"], answer["source"]

    assert answers[1:] == answers[:1] * 3


async def test_memory_serves_while_redis_is_gone(
    services: tuple[InProcess, InProcess], redis: RedisServer
) -> None:
    one, _ = services
    await ask(one, 1)
    redis.kill()

    assert (await ask(one, 1))["source"] == "cache"
    assert await metric(one, 'opal_cache_errors_total{call="get"}') == 0


async def test_a_takedown_makes_both_tiers_answers_unreachable(
    services: tuple[InProcess, InProcess],
) -> None:
    one, other = services
    before = await ask(one, 1)
    await ask(other, 1)
    taken = before["candidates"][0]["item_id"]
    for service in (one, other):  # each has it from Redis and in memory; neither waits to be told
        await service.client.put(f"/admin/takedowns/{taken}")
    answers = [await ask(service, 1) for service in (one, other)]

    for answer in answers:
        assert taken not in [each["item_id"] for each in answer["candidates"]]
    assert [answer["source"] for answer in answers] == ["model", "cache"]

    # The answer of before is good again once nothing is taken down, wherever it was kept.
    await one.client.delete(f"/admin/takedowns/{taken}")
    again = await ask(one, 1)
    assert (again["source"], again["candidates"]) == ("cache", before["candidates"])


async def test_a_swap_makes_both_tiers_answers_unreachable(
    services: tuple[InProcess, InProcess], registry_path: Path, bundle_paths: list[Path]
) -> None:
    one, other = services
    before = await ask(one, 1)
    await ask(other, 1)
    version = Registry(registry_path).publish(bundle_paths[1])
    for service in (one, other):
        await service.client.post("/admin/reload")
    answers = [await ask(service, 1) for service in (one, other)]

    assert [answer["source"] for answer in answers] == ["model", "cache"]
    assert {answer["bundle_version"] for answer in answers} == {version}
    assert answers[0]["candidates"] == answers[1]["candidates"] != before["candidates"]


async def test_a_copy_in_memory_does_not_outlive_the_ttl(
    registry_path: Path, redis: RedisServer, client: Redis
) -> None:
    settings = {"redis_url": redis.url, "cache_ttl": 20.0}
    async with service_in_process(registry_path, **settings) as one:
        await ask(one, 1)
    (key,) = [key async for key in client.scan_iter("opal:match:*")]
    async with service_in_process(registry_path, **settings) as other:
        assert (await ask(other, 1))["source"] == "cache"
        # What is left of its life in Redis and in the memory of the worker that copied it now.
        await client.delete(key)
        assert (await ask(other, 1))["source"] == "cache"
        await asyncio.sleep(2.05)
        assert (await ask(other, 1))["source"] == "model"


async def test_a_batch_is_looked_up_in_one_round_trip(
    services: tuple[InProcess, InProcess], client: Redis
) -> None:
    one, other = services
    requests = [body(number) for number in range(200)]
    first = await one.client.post("/match/batch", json={"requests": requests[:150]})
    assert [each["source"] for each in first.json()["results"]] == ["model"] * 150
    before = await calls(client, "mget")
    second = await other.client.post("/match/batch", json={"requests": requests})
    third = await other.client.post("/match/batch", json={"requests": requests})

    assert [each["source"] for each in second.json()["results"]] == ["cache"] * 150 + ["model"] * 50
    assert [each["source"] for each in third.json()["results"]] == ["cache"] * 200
    assert await calls(client, "mget") == before + 1


async def test_look_ups_of_many_callers_share_round_trips(
    services: tuple[InProcess, InProcess], client: Redis
) -> None:
    one, _ = services
    await asyncio.gather(*(ask(one, number) for number in range(50)))

    assert await calls(client, "mget") < 50 / 2


async def test_answers_are_put_in_the_form_that_the_docs_tell(
    services: tuple[InProcess, InProcess], client: Redis
) -> None:
    one, _ = services
    response = await one.client.post("/match", json=body(1) | {"top_k": 100})
    (key,) = [key async for key in client.scan_iter("opal:match:*")]

    assert await client.strlen(key) < len(response.content) / 2


def test_under_load_no_request_fails_when_redis_is_frozen_or_killed(
    registry_path: Path, redis: RedisServer, tmp_path: Path
) -> None:
    # Without memory every request asks Redis.
    settings: dict[str, Any] = {"redis_url": redis.url, "cache_memory_mb": 0}
    settings["breaker_seconds"] = 0.2
    state = "opal_cache_breaker_state"
    hits = 'opal_cache_lookups_total{result="hit",tier="redis"}'
    with ServiceProcess(registry_path, tmp_path / "service.log", **settings) as service:
        with Load(service.url) as load:
            for stop, go_on in ((redis.freeze, redis.thaw), (redis.kill, redis.start)):
                stop()
                wait_until(lambda: service.metric(state) == 2, what="the breaker to open")
                answered = load.versions.total()
                wait_until(lambda: load.versions.total() > answered + 100, what="answers")  # noqa: B023
                go_on()
                wait_until(lambda: service.metric(state) == 0, what="the breaker to close")
                found = service.metric(hits)
                wait_until(lambda: service.metric(hits) > found, what="hits")  # noqa: B023
        assert load.failures == []
