"""Takedowns in a Redis that is killed, frozen, emptied and replaced."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from index.takedowns.takedown_file import TakedownFile
from index.takedowns.takedowns import Ledger, Takedown
from model.errors import RegistryError
from service.api.answers import TakedownAnswer, TakedownPut, TakedownsAnswer
from service.takedowns.redis_takedowns import KEY
from tests.bundles import item_id
from tests.problems import assert_is, assert_problem
from tests.redis_server import RedisServer
from tests.services import InProcess, service_in_process

pytestmark = pytest.mark.anyio
INTERVAL = 0.02


def run(registry: Path, redis: RedisServer, **more: Any) -> AbstractAsyncContextManager[InProcess]:
    settings = {"takedown_interval": INTERVAL, "breaker_seconds": 0.1, **more}
    return service_in_process(registry, redis_url=redis.url, **settings)


@pytest.fixture
async def service(
    registry_path: Path, redis: RedisServer, anyio_backend: str
) -> AsyncIterator[InProcess]:
    async with run(registry_path, redis) as running:
        yield running


async def put(service: InProcess, taken: str, reason: str | None = None) -> Any:
    body = None if reason is None else {"reason": reason}
    return assert_is(TakedownPut, await service.client.put(f"/admin/takedowns/{taken}", json=body))


async def candidates(service: InProcess) -> list[str]:
    body = {"interactions": [item_id(1), item_id(5)], "top_k": 5}
    answer = (await service.client.post("/match", json=body)).json()
    return [each["item_id"] for each in answer["candidates"]]


def in_force(service: InProcess) -> set[str]:
    return set(service.state["live"].takedowns.ledger.takedowns)


async def until_in_force(service: InProcess, expected: set[str]) -> None:
    async with asyncio.timeout(5):
        while in_force(service) != expected:
            await asyncio.sleep(INTERVAL)


async def test_redis_holds_what_was_put_and_the_registry_a_copy(
    service: InProcess, redis: RedisServer, registry_path: Path
) -> None:
    first = await put(service, "ü/1", "a reason")
    again = await put(service, "ü/1")
    other = await put(service, "ü/1", "another")
    await put(service, "x")
    lifted = assert_is(TakedownAnswer, await service.client.delete("/admin/takedowns/x"))
    missing = await service.client.delete("/admin/takedowns/x")

    assert (first.pop("new"), again.pop("new"), other.pop("new")) == (True, False, False)
    assert first == again == other | {"reason": "a reason"}
    assert other["reason"] == "another"
    assert lifted["reason"] is None
    assert_problem(missing, 404)
    ledger = service.state["live"].takedowns.ledger
    assert TakedownFile(registry_path).read() == ledger
    async with Redis.from_url(redis.url) as client:
        assert await client.hlen(KEY) == 3
        assert await client.pttl(KEY) == -1


async def test_the_limit_holds_in_redis_too(registry_path: Path, redis: RedisServer) -> None:
    async with run(registry_path, redis, max_takedowns=1) as service:
        await put(service, "a")
        await put(service, "a")
        assert_problem(await service.client.put("/admin/takedowns/b"), 409)


async def test_what_is_in_force_stays_when_redis_is_killed_and_changes_are_refused(
    service: InProcess, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    taken = (await candidates(service))[0]
    await put(service, taken)
    redis.kill()
    for call in (service.client.put, service.client.delete):
        start = time.monotonic()
        problem = assert_problem(await call(f"/admin/takedowns/{taken}"), 503)
        assert time.monotonic() - start < 2
        assert "Redis" in problem["detail"]
    assert_problem(await service.client.put("/admin/takedowns/b"), 503)
    await asyncio.sleep(10 * INTERVAL)

    assert in_force(service) == {taken}
    assert taken not in await candidates(service)
    assert assert_is(TakedownsAnswer, await service.client.get("/admin/takedowns"))["count"] == 1
    text = service.state["metrics"].render().decode()
    assert 'opal_takedown_refreshes_total{outcome="failed"}' in text
    assert "opal_takedowns 1.0" in text
    assert caplog.text.count("(1 stay in force)") <= 2  # closed, then refused


async def test_a_redis_that_comes_back_empty_gets_the_takedowns_back(
    service: InProcess, redis: RedisServer, registry_path: Path
) -> None:
    async with run(registry_path, redis) as other:
        await put(service, "a", "why")
        await until_in_force(other, {"a"})
        redis.kill()
        redis.start()
        await put(service, "b")
        await until_in_force(other, {"a", "b"})

        epochs = {each.state["live"].takedowns.epoch for each in (service, other)}
        assert len(epochs) == 1
    got = assert_is(TakedownAnswer, await service.client.get("/admin/takedowns/a"))
    assert got["reason"] == "why"


async def test_an_evicted_key_is_put_back(service: InProcess, redis: RedisServer) -> None:
    await put(service, "a")
    async with Redis.from_url(redis.url) as client:
        await client.flushall()
        await asyncio.sleep(10 * INTERVAL)
        assert await client.hexists(KEY, "item:a")
    assert in_force(service) == {"a"}


async def test_two_workers_that_know_different_things_of_a_lost_redis_come_to_all_of_it(
    tmp_path: Path, registry_path: Path, redis: RedisServer, bundle_paths: list[Path]
) -> None:
    from index.registry.registry import Registry

    Registry(tmp_path / "elsewhere").publish(bundle_paths[0])
    async with (
        run(registry_path, redis) as one,
        run(tmp_path / "elsewhere", redis, takedown_interval=0.5) as other,
    ):
        await put(one, "a")
        await until_in_force(other, {"a"})
        # The slower one has not seen it when Redis loses everything.
        await put(one, "b")
        redis.kill()
        redis.start()
        await put(other, "c")
        await until_in_force(one, {"a", "b", "c"})
        await until_in_force(other, {"a", "b", "c"})


async def test_an_old_snapshot_in_redis_is_brought_up_to_date(
    service: InProcess, redis: RedisServer
) -> None:
    await put(service, "a")
    async with Redis.from_url(redis.url, protocol=2) as client:
        snapshot = await client.dump(KEY)
        assert snapshot is not None
        await put(service, "b")
        await client.restore(KEY, 0, snapshot, replace=True)
        async with asyncio.timeout(5):
            while not await client.hexists(KEY, "item:b"):
                await asyncio.sleep(INTERVAL)
    assert in_force(service) == {"a", "b"}


async def test_a_start_without_redis_goes_by_the_copy_and_says_so(
    registry_path: Path, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with run(registry_path, redis) as service:
        await put(service, "a")
    redis.kill()
    async with run(registry_path, redis) as service:
        assert in_force(service) == {"a"}
        assert "starting with the takedowns known last: 1" in caplog.text
        redis.start()
        await put_when_back(service, "b")
        assert in_force(service) == {"a", "b"}


async def put_when_back(service: InProcess, taken: str) -> None:
    async with asyncio.timeout(5):
        while (await service.client.put(f"/admin/takedowns/{taken}")).status_code != 200:
            await asyncio.sleep(INTERVAL)


async def test_a_start_with_neither_redis_nor_copy_says_so(
    registry_path: Path, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis.kill()
    async with run(registry_path, redis) as service:
        assert in_force(service) == set()
        assert "starting with the takedowns known last: 0" in caplog.text


async def test_takedowns_of_the_file_go_on_when_redis_is_introduced_and_given_up(
    registry_path: Path, redis: RedisServer
) -> None:
    async with service_in_process(registry_path) as service:
        await put(service, "a")
    async with run(registry_path, redis) as service:
        assert in_force(service) == {"a"}
        await put(service, "b")
    async with service_in_process(registry_path) as service:
        assert in_force(service) == {"a", "b"}


async def test_a_damaged_copy_is_made_anew_where_redis_knows_and_else_refused(
    registry_path: Path, redis: RedisServer
) -> None:
    file = TakedownFile(registry_path)
    async with run(registry_path, redis) as service:
        await put(service, "a")
    file.path.write_text("nonsense")
    async with run(registry_path, redis) as service:
        assert in_force(service) == {"a"}
        assert file.read() == service.state["live"].takedowns.ledger

    file.path.write_text("nonsense")
    for lose in (redis.kill, redis.start):  # away, then empty
        lose()
        with pytest.raises(RegistryError, match="damaged"):
            async with run(registry_path, redis):
                pass


async def test_a_copy_that_cannot_be_written_is_told_and_does_not_keep_from_serving(
    service: InProcess, registry_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (registry_path / "takedowns").write_text("no folder")
    await put(service, "a")
    await put(service, "b")

    assert in_force(service) == {"a", "b"}
    assert caplog.text.count("the copy of the takedowns cannot be written") == 1
    assert b'refreshes_total{outcome="copy_failed"}' in service.state["metrics"].render()


async def test_a_key_that_holds_something_else_is_told(
    service: InProcess, redis: RedisServer
) -> None:
    await put(service, "a")
    async with Redis.from_url(redis.url) as client:
        await client.set(KEY, "no hash")
    problem = assert_problem(await service.client.put("/admin/takedowns/b"), 503)

    assert "WRONGTYPE" in problem["detail"]
    assert in_force(service) == {"a"}


async def test_a_redis_that_freezes_delays_no_answer_and_gets_no_change(
    service: InProcess, redis: RedisServer
) -> None:
    await put(service, "a")
    redis.freeze()
    start = time.monotonic()
    refused = asyncio.create_task(service.client.put("/admin/takedowns/b"))
    await candidates(service)
    assert time.monotonic() - start < 0.5
    assert_problem(await refused, 503)
    redis.thaw()
    await asyncio.sleep(10 * INTERVAL)

    assert in_force(service) == {"a"}


async def test_many_takedowns_come_back_in_one_piece(
    registry_path: Path, redis: RedisServer
) -> None:
    many = {f"item {number}": Takedown(f"item {number}", "then") for number in range(20_000)}
    TakedownFile(registry_path).change(lambda ledger: Ledger(ledger.origin, 1, many))
    async with run(registry_path, redis) as service:
        assert in_force(service) == set(many)
        async with Redis.from_url(redis.url) as client:
            assert await client.hlen(KEY) == len(many) + 2
