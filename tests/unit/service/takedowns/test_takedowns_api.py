"""Takedowns over HTTP: put, got, listed, lifted; what is wrong is refused."""

from pathlib import Path
from typing import Any

import pytest

from service.api.answers import (
    TakedownAnswer,
    TakedownPut,
    TakedownsAnswer,
)
from tests.bundles import item_id
from tests.problems import assert_is, assert_problem
from tests.services import InProcess, service_in_process
from tests.takedowns import path_of, put

pytestmark = pytest.mark.anyio


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
