"""What is taken down is not served, by no way, whatever happens at the same moment."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx
import pytest

from index.bundles.bundle import Bundle
from index.registry.registry import Registry
from index.takedowns.takedown_file import TakedownFile
from index.takedowns.takedowns import Ledger, Takedown
from model.errors import RegistryError
from service.answering.matching import Match, match_together
from service.api.answers import (
    MatchAnswer,
    SimilarAnswer,
    TakedownAnswer,
    TakedownPut,
    TakedownsAnswer,
)
from service.caching.cache import TieredCache
from tests.bundles import item_id
from tests.problems import assert_is, assert_problem
from tests.services import InProcess, service_in_process

pytestmark = pytest.mark.anyio
HISTORY = [item_id(row) for row in (1, 5, 9, 2)]


def path_of(taken: str) -> str:
    return f"/admin/takedowns/{quote(taken, safe='')}"


async def put(service: InProcess, taken: str, **body: str) -> Any:
    response = await service.client.put(path_of(taken), json=body or None)
    return assert_is(TakedownPut, response)


async def candidates(service: InProcess, **wishes: Any) -> list[str]:
    body = {"interactions": HISTORY, "top_k": 10} | wishes
    answer = assert_is(MatchAnswer, await service.client.post("/match", json=body))
    return [each["item_id"] for each in answer["candidates"]]


async def test_a_takedown_is_put_got_listed_and_lifted(service: InProcess) -> None:
    taken = await put(service, item_id(7), reason="why")
    again = await put(service, item_id(7))
    got = assert_is(TakedownAnswer, await service.client.get(path_of(item_id(7))))
    listed = assert_is(TakedownsAnswer, await service.client.get("/admin/takedowns"))
    lifted = assert_is(TakedownAnswer, await service.client.delete(path_of(item_id(7))))

    assert (taken.pop("new"), again.pop("new")) == (True, False)
    assert taken == again == got == lifted
    assert (taken["item_id"], taken["reason"], taken["known"]) == (item_id(7), "why", True)
    assert taken["since"].endswith("+00:00")
    assert listed == {"count": 1, "takedowns": [taken], "next": None}


async def test_what_is_not_taken_down_is_404(service: InProcess) -> None:
    for call in (service.client.get, service.client.delete):
        assert "not taken down" in assert_problem(await call(path_of("x")), 404)["detail"]
    assert assert_is(TakedownsAnswer, await service.client.get("/admin/takedowns"))["count"] == 0


@pytest.mark.parametrize(
    "taken",
    [
        "a/b",
        "a//b/",
        "/",
        "similar",
        "x/similar",
        "100%",
        "%2F",
        "ü ☃ 🎬",
        "a?b#c",
        "a\nb",
        "ends\n",
        "\x00",
        "x" * 256,
    ],
)
async def test_any_id_can_be_taken_down(service: InProcess, taken: str) -> None:
    assert (await put(service, taken))["item_id"] == taken
    listed = assert_is(TakedownsAnswer, await service.client.get("/admin/takedowns"))
    assert [each["item_id"] for each in listed["takedowns"]] == [taken]
    assert not listed["takedowns"][0]["known"]

    assert_is(TakedownAnswer, await service.client.get(path_of(taken)))
    assert_is(TakedownAnswer, await service.client.delete(path_of(taken)))


async def test_a_slash_may_stay(service: InProcess) -> None:
    response = await service.client.put("/admin/takedowns/a/b%2Fc")

    assert assert_is(TakedownPut, response)["item_id"] == "a/b/c"


@pytest.mark.parametrize(("taken", "status"), [("x" * 257, 422), ("", 422)])
async def test_an_id_that_is_none_is_refused(service: InProcess, taken: str, status: int) -> None:
    problem = assert_problem(await service.client.put(path_of(taken)), status)

    assert problem["errors"][0]["path"] == "path.item_id"


@pytest.mark.parametrize("taken", ["%ff", "%fe", "a%C3", "%ED%A0%80"])
async def test_an_id_that_is_not_utf8_is_refused_and_not_taken_for_another(
    service: InProcess, taken: str
) -> None:
    await put(service, "\ufffd")  # what such bytes would be read as
    for method in ("PUT", "GET", "DELETE"):
        problem = assert_problem(
            await service.client.request(method, f"/admin/takedowns/{taken}"), 422
        )
        assert problem["errors"][0]["path"] == "path.item_id"
        assert "UTF-8" in problem["detail"]

    listed = assert_is(TakedownsAnswer, await service.client.get("/admin/takedowns"))
    assert [each["item_id"] for each in listed["takedowns"]] == ["\ufffd"]


@pytest.mark.parametrize("body", [{"reason": ""}, {"reason": "x" * 501}, {"nope": 1}, []])
async def test_a_body_that_is_wrong_is_refused(service: InProcess, body: Any) -> None:
    assert_problem(await service.client.put(path_of("a"), json=body), 422)
    assert assert_is(TakedownsAnswer, await service.client.get("/admin/takedowns"))["count"] == 0


async def test_takedowns_are_behind_the_token(registry_path: Path) -> None:
    async with service_in_process(registry_path, admin_token="secret") as service:
        for method, path in [
            ("PUT", "/x"),
            ("GET", "/x"),
            ("DELETE", "/x"),
            ("GET", ""),
        ]:
            assert_problem(await service.client.request(method, f"/admin/takedowns{path}"), 401)
        header = {"Authorization": "Bearer secret"}
        assert_is(TakedownPut, await service.client.put(path_of("x"), headers=header))


async def test_a_long_list_comes_in_parts(service: InProcess) -> None:
    for number in range(5):
        await put(service, f"id {number}")
    found: list[str] = []
    after = ""
    while True:
        response = await service.client.get("/admin/takedowns", params={"limit": 2, "after": after})
        listed = assert_is(TakedownsAnswer, response)
        assert listed["count"] == 5
        found += [each["item_id"] for each in listed["takedowns"]]
        if listed["next"] is None:
            break
        after = listed["next"]

    assert found == [f"id {number}" for number in range(5)]
    assert_problem(await service.client.get("/admin/takedowns?limit=1001"), 422)
    assert_problem(await service.client.get("/admin/takedowns?top=1"), 422)


async def test_more_than_allowed_are_refused(registry_path: Path) -> None:
    async with service_in_process(registry_path, max_takedowns=2) as service:
        for taken in ("a", "b", "a"):
            await put(service, taken)
        problem = assert_problem(await service.client.put(path_of("c")), 409)
        assert "OPAL_MAX_TAKEDOWNS" in problem["detail"]
        await service.client.delete(path_of("a"))
        await put(service, "c")


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


def damage(registry_path: Path) -> None:
    TakedownFile(registry_path).path.write_text("nonsense")


def become_a_folder(registry_path: Path) -> None:
    TakedownFile(registry_path).path.unlink()
    TakedownFile(registry_path).path.mkdir()


@pytest.mark.parametrize("spoil", [damage, become_a_folder])
async def test_a_file_that_is_spoiled_leaves_in_force_what_was_and_is_told_once(
    registry_path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    async with service_in_process(registry_path, takedown_interval=0.01) as service:
        taken = (await candidates(service))[0]
        await put(service, taken)
        spoil(registry_path)
        await asyncio.sleep(0.2)
        refused = assert_problem(await service.client.put(path_of("b")), 503)
        assert "ledger.jsonl" in refused["detail"]
        assert_problem(await service.client.delete(path_of(taken)), 503)
        assert taken not in await candidates(service)
        assert_is(TakedownAnswer, await service.client.get(path_of(taken)))
        assert caplog.text.count("(1 stay in force)") == 1
        assert b'refreshes_total{outcome="failed"}' in service.state["metrics"].render()

        # Taken away, it is written again.
        file = TakedownFile(registry_path)
        file.path.rmdir() if file.path.is_dir() else file.path.unlink()
        async with asyncio.timeout(5):
            while (ledger := file.read()) is None:
                await asyncio.sleep(0.01)
        assert set(ledger.takedowns) == {taken}
        assert (await put(service, "b"))["new"]


async def test_damage_behind_the_head_is_told_without_a_change(
    registry_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with service_in_process(registry_path, takedown_interval=0.01) as service:
        await put(service, item_id(1))
        ledger = TakedownFile(registry_path).path
        sound = ledger.read_text()
        ledger.write_text(sound.replace(item_id(1), item_id(2)))
        async with asyncio.timeout(5):
            while b'refreshes_total{outcome="failed"}' not in service.state["metrics"].render():
                await asyncio.sleep(0.01)
        assert "the SHA-256 in its first line differs" in caplog.text
        assert caplog.text.count("(1 stay in force)") == 1

        ledger.write_text(sound)
        async with asyncio.timeout(5):
            while "can be followed again" not in caplog.text:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("spoil", [damage, become_a_folder])
async def test_a_file_that_is_spoiled_keeps_a_worker_from_starting(
    registry_path: Path, spoil: Callable[[Path], None]
) -> None:
    TakedownFile(registry_path).change(lambda ledger: ledger.put(Takedown("a", "then")))
    spoil(registry_path)

    with pytest.raises((RegistryError, OSError), match=r"ledger\.jsonl"):
        async with service_in_process(registry_path):
            pass


async def test_a_file_that_went_back_gets_what_it_lost(registry_path: Path) -> None:
    file = TakedownFile(registry_path)
    async with service_in_process(registry_path, takedown_interval=0.01) as service:
        await put(service, "a")
        old = file.path.read_bytes()
        await put(service, "b")
        file.path.write_bytes(old)
        async with asyncio.timeout(5):
            while set((file.read() or pytest.fail("no file")).takedowns) != {"a", "b"}:
                await asyncio.sleep(0.01)


async def test_a_defect_does_not_end_following(
    registry_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with service_in_process(registry_path, takedown_interval=0.01) as service:
        with monkeypatch.context() as patch:
            patch.setattr(TakedownFile, "read_again", lambda *_: 1 / 0)
            await asyncio.sleep(0.1)
        assert "ZeroDivisionError" in caplog.text
        TakedownFile(registry_path).change(lambda ledger: ledger.put(Takedown("a", "then")))
        async with asyncio.timeout(5):
            while not service.state["live"].takedowns.ledger.takedowns:
                await asyncio.sleep(0.01)


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
