"""An ordinary ``POST /match`` is answered past FastAPI; nobody may be able to tell."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from service.direct_match import DirectMatch
from tests.bundles import item_id
from tests.services import InProcess, service_in_process

pytestmark = pytest.mark.anyio

HISTORY = [item_id(row) for row in (1, 5, 9, 2)]
BODIES: list[bytes] = [
    orjson.dumps(each)
    for each in (
        {"interactions": HISTORY},
        {"interactions": HISTORY, "user_id": 7, "top_k": 3, "explain": True, "diversity": 0.4},
        {"interactions": [{"item_id": 5, "timestamp": "2026-11-25"}], "exclude_seen": False},
        {"interactions": HISTORY, "categories": {"deny": ["genre-0"]}, "aggregation": "quota"},
        {"interactions": ["nobody knows this"]},
        {},
        {"interactions": HISTORY, "top_k": 0},
        {"interactions": [True], "nonsense": 1},
        {"interactions": ["x"] * 1001},
    )
] + [b"", b"[]", b"{", b'{"interactions": ["\xff"]}', b'{"interactions": ["\\ud800"]}']
HEADERS: list[dict[str, str]] = [
    {},
    {"X-Timeout-Ms": "5000"},
    {"X-Timeout-Ms": "0"},
    {"X-Timeout-Ms": "-1"},
    {"X-Timeout-Ms": "soon"},
    {"X-Timeout-Ms": "9" * 5000},
    {"X-Timeout-Ms": " 12 "},
    {"Content-Type": "text/plain"},
]


async def both(registry_path: Path) -> AsyncIterator[InProcess]:
    """The service as it is, then one that leaves all calls to FastAPI's routes."""
    options = {"cache_ttl": 0, "max_interactions": 1000}
    async with service_in_process(registry_path, **options) as service:
        yield service
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DirectMatch, "__call__", lambda self, *call: self._app(*call))
        async with service_in_process(registry_path, **options) as service:
            yield service


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    half = len(body) // 2
    yield body[:half]
    yield body[half:]


async def post(
    service: InProcess, content: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    return await service.client.post(
        "/match", content=content, headers={"X-Request-ID": "same", **(headers or {})}
    )


def told(response: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    return response.status_code, response.content, dict(response.headers)


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("sent", [bytes, in_pieces])
async def test_the_answer_is_to_the_byte_that_of_the_route(
    registry_path: Path, body: bytes, sent: Any
) -> None:
    answers = [told(await post(service, sent(body))) async for service in both(registry_path)]

    assert answers[0] == answers[1]


@pytest.mark.parametrize("headers", HEADERS, ids=range(len(HEADERS)))
async def test_headers_are_understood_as_the_route_does(
    registry_path: Path, headers: dict[str, str]
) -> None:
    answers = [told(await post(each, BODIES[0], headers)) async for each in both(registry_path)]

    assert answers[0] == answers[1]


async def test_both_ways_are_counted_alike(registry_path: Path) -> None:
    counts = []
    async for service in both(registry_path):
        for body in (*BODIES, in_pieces(BODIES[0])):
            await post(service, body)
        text = service.state["metrics"].render().decode()
        counts.append(
            [
                line
                for line in text.splitlines()
                if line.startswith(
                    ("opal_requests_total", "opal_request_seconds_count", "opal_answers_total")
                )
            ]
        )

    assert counts[0] == counts[1]
    assert any('route="/match",status="200"' in line for line in counts[0])


async def test_the_route_is_not_asked_for_what_is_ordinary(
    registry_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[bytes] = []
    original = DirectMatch.__init__

    def watched(self: DirectMatch, app: Any, **options: Any) -> None:
        async def noting(scope: Any, receive: Any, send: Any) -> None:
            passed.append(scope["raw_path"] if scope["type"] == "http" else b"")
            await app(scope, receive, send)

        original(self, noting, **options)

    monkeypatch.setattr(DirectMatch, "__init__", watched)
    async with service_in_process(registry_path) as service:
        assert (await post(service, BODIES[0])).status_code == 200
        assert passed == []
        assert (await post(service, b"{")).status_code == 400
        assert (await service.client.get("/match")).status_code == 405
        assert len(passed) == 2


async def test_a_body_over_the_limit_is_refused_in_one_piece_too(registry_path: Path) -> None:
    async with service_in_process(registry_path, max_body_bytes=100) as service:
        for content in (b" " * 101, in_pieces(b" " * 101)):
            assert (await post(service, content)).status_code == 413
        assert (await post(service, b"{}" + b" " * 98)).status_code == 200


@pytest.mark.parametrize("length", [b"101", b"9" * 19])
async def test_a_body_announced_as_too_large_is_refused_unread(
    registry_path: Path, length: bytes
) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("it is not to be read")

    async def send(message: Any) -> None:
        sent.append(message)

    async with service_in_process(registry_path, max_body_bytes=100) as service:
        transport = service.client._transport
        assert isinstance(transport, httpx.ASGITransport)
        scope = {
            "type": "http", "method": "POST", "path": "/match", "raw_path": b"/match",
            "query_string": b"", "headers": [(b"content-length", length)],
            "http_version": "1.1", "scheme": "http",
        }  # fmt: skip
        await transport.app(scope, receive, send)

    assert sent[0]["status"] == 413
