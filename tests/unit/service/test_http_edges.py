"""Bodies that are refused, callers that hang up, swaps in the middle of a call."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.types import Message

from index.bundles.bundle import open_bundle
from service.app import create_app
from service.settings import Settings
from tests.bundles import item_id
from tests.problems import assert_problem
from tests.services import InProcess

pytestmark = pytest.mark.anyio
HUGE = b"1" + b"0" * 400


@pytest.mark.parametrize("sign", [b"", b"-"])
async def test_a_timestamp_beyond_floats_is_422(service: InProcess, sign: bytes) -> None:
    request = b'{"interactions": [{"item_id": 1, "timestamp": ' + sign + HUGE + b"}]}"
    one = await service.client.post("/match", content=request)
    batch = await service.client.post("/match/batch", content=b'{"requests": [' + request + b"]}")

    assert one.status_code == 422
    (result,) = batch.json()["results"]
    for problem in (one.json(), result):
        assert problem["errors"][0]["path"] == "interactions.0.timestamp"


@pytest.mark.parametrize("field", [b"top_k", b"diversity", b"user_id"])
async def test_other_numbers_beyond_floats_are_422(service: InProcess, field: bytes) -> None:
    request = b'{"' + field + b'": ' + HUGE + b"}"
    one = await service.client.post("/match", content=request)
    batch = await service.client.post("/match/batch", content=b'{"requests": [' + request + b"]}")

    assert one.status_code == 422
    assert batch.json()["results"][0]["status"] == 422


async def test_a_caller_that_hangs_up_is_no_error_of_ours(
    registry_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app = create_app(Settings(registry=registry_path))
    received: Iterator[Message] = iter(
        [
            {"type": "http.request", "body": b'{"inter', "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    sent: list[Message] = []

    async def receive() -> Message:
        return next(received)

    async def send(message: Message) -> None:
        sent.append(message)

    async with app.router.lifespan_context(app) as state:
        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/match",
            "raw_path": b"/match",
            "query_string": b"",
            "headers": [],
            "http_version": "1.1",
            "scheme": "http",
            "state": dict(state or {}),
        }
        await app(scope, receive, send)
        metrics = scope["state"]["metrics"].render()

    assert b'opal_requests_total{method="POST",route="/match",status="499"} 1.0' in metrics
    assert "failed" not in caplog.text


async def test_a_batch_is_answered_from_one_bundle_whatever_is_published_meanwhile(
    service: InProcess, other_bundle_path: Path
) -> None:
    live, other = service.state["live"], open_bundle(other_bundle_path)
    before = live.version
    requests = [{"interactions": [item_id(row)], "top_k": 250} for row in range(100)]
    batch = asyncio.create_task(service.client.post("/match/batch", json={"requests": requests}))
    answers = service.state["metrics"].answers.labels("model")
    while answers._value.get() < 5:
        await asyncio.sleep(0)
    assert not batch.done()
    live.swap(other)
    results = (await batch).json()["results"]
    after = (await service.client.post("/match", json=requests[0])).json()

    assert {result["bundle_version"] for result in results} == {before}
    assert after["bundle_version"] == other.version


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_may_ask_with_head(service: InProcess, path: str) -> None:
    assert (await service.client.head(path)).status_code == 200


async def test_similar_refuses_a_parameter_that_it_does_not_know(service: InProcess) -> None:
    response = await service.client.get(f"/items/{item_id(7)}/similar?topk=5")

    assert response.status_code == 422
    assert orjson.loads(response.content)["errors"][0]["path"] == "query.topk"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"interactions": [1,}',
        b'{"top_k": 1e}',
        b"[" * 100_000,
        b'{"a": ' * 5_000,
        b'{"user_id": "\xff"}',
        b'{"user_id": "\\ud800"}',
        b'{"top_k": ' + b"9" * 5_000 + b"}",
    ],
)
async def test_broken_json_is_400_and_tells_the_place(service: InProcess, body: bytes) -> None:
    problem = assert_problem(await service.client.post("/match", content=body), 400)

    assert "line 1 column" in problem["detail"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"[]", "body"),
        (b"null", "body"),
        (b'{"top_k": 1001}', "top_k"),
        (b'{"diversity": NaN}', "diversity"),
        (b'{"diversity": 1e999}', "diversity"),
        (b'{"nope": 1}', "nope"),
        (b'{"interactions": [1, true]}', "interactions.1.item_id"),
        (b'{"interactions": [{"item_id": 1, "timestamp": NaN}]}', "interactions.0.timestamp"),
    ],
)
async def test_a_wrong_field_is_422_with_its_path(
    service: InProcess, body: bytes, path: str
) -> None:
    problem = assert_problem(await service.client.post("/match", content=body), 422)

    assert path in [error["path"] for error in problem["errors"]]
    assert problem["detail"].startswith(problem["errors"][0]["path"])


async def test_a_long_list_of_mistakes_is_told_in_part(service: InProcess) -> None:
    response = await service.client.post("/match", json={"interactions": [True] * 900})
    problem = assert_problem(response, 422)

    assert len(problem["errors"]) == 20
    assert problem["detail"].endswith("(and 899 more)")


async def test_the_deadline_header_is_checked(service: InProcess) -> None:
    response = await service.client.post("/match", json={}, headers={"X-Timeout-Ms": "soon"})

    assert assert_problem(response, 422)["errors"][0]["path"] == "header.X-Timeout-Ms"


async def test_a_body_over_the_limit_is_413(service: InProcess) -> None:
    assert_problem(await service.client.post("/match", content=b" " * 5_000_000), 413)


async def test_a_body_over_the_limit_is_413_without_its_length_too(service: InProcess) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b" " * 100_000

    assert_problem(await service.client.post("/match", content=chunks()), 413)


async def test_unknown_calls_are_problems_too(service: InProcess) -> None:
    assert_problem(await service.client.get("/nope"), 404)
    assert_problem(await service.client.get("/match"), 405)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/admin/takedowns/x", "GET, PUT, DELETE"),
        ("PROPFIND", "/admin/takedowns/x", "GET, PUT, DELETE"),
        ("DELETE", "/admin/takedowns", "GET"),
        ("GET", "/match", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)
async def test_a_405_names_all_methods_of_the_path(
    service: InProcess, method: str, path: str, allowed: str
) -> None:
    response = await service.client.request(method, path)

    assert_problem(response, 405)
    assert response.headers["allow"] == allowed
