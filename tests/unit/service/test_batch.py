"""``POST /match/batch`` computes its requests together, as if each had been asked alone."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from index.bundles.bundle import Bundle, open_bundle
from service.answering.matching import Match, match_together
from service.api.query import Query
from tests.bundles import item_id
from tests.services import InProcess, service_in_process

pytestmark = pytest.mark.anyio


def body(number: int) -> dict[str, Any]:
    return {"interactions": [item_id(number)], "top_k": 3}


async def ask(service: InProcess, requests: list[Any], **headers: str) -> list[dict[str, Any]]:
    response = await service.client.post(
        "/match/batch", json={"requests": requests}, headers=headers
    )
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


@pytest.mark.parametrize("max_pending", [1, 2, 128])
async def test_a_batch_larger_than_the_queue_is_answered(
    registry_path: Path, max_pending: int
) -> None:
    async with service_in_process(registry_path, max_pending=max_pending) as service:
        results = await ask(service, [body(number) for number in range(256)])
        alone = await service.client.post("/match", json=body(200))

    assert [result.get("source") for result in results] == ["model"] * 256
    assert alone.json()["candidates"] == results[200]["candidates"]


async def test_a_batch_leaves_room_for_others(registry_path: Path) -> None:
    async with service_in_process(registry_path, max_pending=8) as service:
        batch = asyncio.create_task(ask(service, [body(number) for number in range(200)]))
        others: list[httpx.Response] = []
        while not batch.done():
            others.append(await service.client.post("/match", json=body(200 + len(others))))

    assert others
    assert {response.status_code for response in others} == {200}
    assert {result.get("source") for result in await batch} == {"model"}


async def test_a_full_queue_refuses_single_requests_of_a_batch(
    registry_path: Path,
) -> None:
    async with service_in_process(registry_path, max_pending=1) as service:
        batches = await asyncio.gather(
            *(ask(service, [body(10 * place + n) for n in range(5)]) for place in range(6))
        )
    statuses = {result.get("status") for batch in batches for result in batch}

    assert statuses == {None, 503}


async def test_equal_requests_of_a_batch_are_computed_once(
    registry_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = 0

    def counted(bundle: Bundle, queries: list[Query], **options: Any) -> list[Match]:
        nonlocal computed
        computed += len(queries)
        return match_together(bundle, queries, **options)

    monkeypatch.setattr("service.answering.serving.match_together", counted)
    async with service_in_process(registry_path) as service:
        results = await ask(service, [body(n % 3) | {"user_id": n} for n in range(30)])

    assert computed == 3
    assert [result["source"] for result in results] == ["model"] * 3 + ["cache"] * 27
    for place, result in enumerate(results):
        assert result["candidates"] == results[place % 3]["candidates"]


async def test_a_batch_is_answered_from_one_bundle_though_another_goes_live(
    registry_path: Path, other_bundle_path: Path
) -> None:
    other = open_bundle(other_bundle_path)
    async with service_in_process(registry_path, max_pending=4, reload_interval=3600) as service:
        batch = asyncio.create_task(ask(service, [body(number) for number in range(250)]))
        while b"opal_interests_in_use_count 0.0" in service.state["metrics"].render():
            await asyncio.sleep(0)  # until the first of them is computed
        first = service.state["live"].swap(other)
        assert not batch.done()
        versions = {result["bundle_version"] for result in await batch}
        later = await ask(service, [body(0)])

    assert versions == {first}
    assert later[0]["bundle_version"] == other.version != first


async def test_the_requests_of_a_batch_are_computed_together(registry_path: Path) -> None:
    async with service_in_process(registry_path) as service:
        await ask(service, [body(number) for number in range(250)])
        text = service.state["metrics"].render().decode()

    assert "opal_micro_batch_size_sum 250.0" in text
    (count,) = [line for line in text.splitlines() if "opal_micro_batch_size_count" in line]
    assert float(count.split()[1]) < 250 / 8


async def test_a_deadline_is_that_of_each_request_of_the_batch(registry_path: Path) -> None:
    async with service_in_process(registry_path) as service:
        known = [body(number) for number in range(5)]
        await ask(service, known)
        slow = [body(number) | {"top_k": 290, "diversity": 0.5} for number in range(250)]
        results = await ask(service, [*slow, *known], **{"X-Timeout-Ms": "1"})

    assert 504 in {result.get("status") for result in results[:250]}
    assert [result.get("source") for result in results[250:]] == ["cache"] * 5
