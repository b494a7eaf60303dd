"""What is taken down is not served, by no way, whichever bundle is live."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from index.bundles.bundle import Bundle
from index.registry.registry import Registry
from index.takedowns.takedown_file import TakedownFile
from index.takedowns.takedowns import Ledger, Takedown
from service.api.answers import (
    SimilarAnswer,
)
from tests.bundles import item_id
from tests.problems import assert_is, assert_problem
from tests.services import InProcess, service_in_process
from tests.takedowns import HISTORY, candidates, path_of, put

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("wishes", [{}, {"diversity": 0.7}, {"exclude_seen": False},
                                    {"categories": {"deny": ["genre-2"]}}])  # fmt: skip
async def test_a_candidate_that_is_taken_down_is_replaced_by_the_next(
    service: InProcess, wishes: dict[str, Any]
) -> None:
    before = await candidates(service, **wishes)
    assert await candidates(service, **wishes) == before  # now from the cache
    await put(service, before[3])
    after = await candidates(service, **wishes)
    await service.client.delete(path_of(before[3]))

    assert len(after) == 10
    assert before[3] not in after
    if "diversity" not in wishes:
        assert after[:-1] == before[:3] + before[4:]
    assert await candidates(service, **wishes) == before


async def test_an_item_of_the_history_that_is_taken_down_still_describes_the_user(
    service: InProcess,
) -> None:
    wishes = {"interactions": HISTORY, "exclude_seen": False, "explain": True}
    before = (await service.client.post("/match", json=wishes)).json()
    await put(service, HISTORY[0])
    after = (await service.client.post("/match", json=wishes)).json()

    assert after["interests"] == before["interests"]
    assert after["unknown_items"] == 0
    assert HISTORY[0] not in [each["item_id"] for each in after["candidates"]]
    assert HISTORY[0] in [each["item_id"] for each in after["interests"][0]["strongest_items"]]


async def test_the_fallback_and_similar_items_leave_it_out(
    service: InProcess, bundle: Bundle
) -> None:
    popular = bundle.catalog.ids_of(bundle.catalog.popular[:11])
    near = f"/items/{item_id(7)}/similar?top_k=10"
    similar = assert_is(SimilarAnswer, await service.client.get(near))["candidates"]
    assert await candidates(service, interactions=[]) == popular[:10]
    for taken in (popular[0], similar[0]["item_id"], item_id(7)):
        await put(service, taken)

    taken_down = {popular[0], similar[0]["item_id"], item_id(7)}
    expected = [each for each in popular if each not in taken_down][:10]
    assert (await candidates(service, interactions=[]))[: len(expected)] == expected
    assert (await candidates(service, interactions=["nope"]))[: len(expected)] == expected
    after = assert_is(SimilarAnswer, await service.client.get(near))["candidates"]
    assert len(after) == 10
    assert not {each["item_id"] for each in after} & taken_down


async def test_a_catalog_that_is_taken_down_altogether_has_no_candidates(
    registry_path: Path, bundle: Bundle
) -> None:
    everything = {item_id(row): Takedown(item_id(row), "then") for row in range(300)}
    TakedownFile(registry_path).change(lambda ledger: Ledger(ledger.origin, 1, everything))
    async with service_in_process(registry_path) as service:
        assert await candidates(service) == await candidates(service, interactions=[]) == []
        assert await candidates(service, diversity=1) == []


async def test_takedowns_stay_when_a_new_bundle_goes_live(
    registry_path: Path, other_bundle_path: Path
) -> None:
    async with service_in_process(registry_path, reload_interval=3600) as service:
        taken = (await candidates(service))[0]
        await put(service, taken)
        version = Registry(registry_path).publish(other_bundle_path)
        await service.client.post("/admin/reload")
        assert service.state["live"].version == version
        assert taken not in await candidates(service, top_k=300)
    async with service_in_process(registry_path) as service:
        assert taken not in await candidates(service, top_k=300)


async def test_another_worker_follows(registry_path: Path) -> None:
    async with (
        service_in_process(registry_path, takedown_interval=0.01) as one,
        service_in_process(registry_path, takedown_interval=0.01) as other,
    ):
        taken = (await candidates(other))[0]
        await put(one, taken)
        async with asyncio.timeout(5):
            while taken in await candidates(other):
                await asyncio.sleep(0.01)
        assert one.state["live"].takedowns.epoch == other.state["live"].takedowns.epoch
        assert b"opal_takedowns 1.0" in other.state["metrics"].render()
        assert b'refreshes_total{outcome="changed"} 1.0' in other.state["metrics"].render()

        await other.client.delete(path_of(taken))
        # Asked, a worker looks before it answers.
        assert_problem(await one.client.get(path_of(taken)), 404)


async def test_a_worker_that_waits_for_a_bundle_takes_takedowns(tmp_path: Path) -> None:
    async with service_in_process(tmp_path / "registry", wait_for_bundle=True) as service:
        assert (await put(service, "a"))["known"] is False
