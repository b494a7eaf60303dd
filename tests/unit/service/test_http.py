"""The HTTP API on a real application without a socket: what each call answers."""

import asyncio
import json
import re
from pathlib import Path

import httpx
import orjson
import pytest

from service.api.answers import (
    BatchAnswer,
    BundlesAnswer,
    InterestsAnswer,
    MatchAnswer,
    SimilarAnswer,
)
from tests.bundles import item_id
from tests.problems import assert_is, assert_problem
from tests.services import InProcess, service_in_process

pytestmark = pytest.mark.anyio
HISTORY = [item_id(row) for row in (1, 5, 9, 2)]


async def test_match_answers_as_documented(service: InProcess) -> None:
    response = await service.client.post(
        "/match", json={"user_id": 1, "interactions": HISTORY, "explain": True}
    )
    answer = assert_is(MatchAnswer, response)

    assert answer["source"] == "model"
    assert len(answer["candidates"]) == 100
    assert answer["request_id"] == response.headers["x-request-id"]


async def test_a_hit_equals_the_miss_but_for_source_and_request(service: InProcess) -> None:
    body = {"interactions": HISTORY, "top_k": 7, "explain": True}
    miss = (await service.client.post("/match", json=body)).json()
    hit = (await service.client.post("/match", json=body | {"user_id": 3})).json()

    assert (miss.pop("source"), hit.pop("source")) == ("model", "cache")
    assert miss.pop("request_id") != hit.pop("request_id")
    assert hit == miss


async def test_the_fallback_is_not_taken_from_the_cache(service: InProcess) -> None:
    body = {"interactions": ["nope"], "top_k": 2}
    sources = [(await service.client.post("/match", json=body)).json()["source"] for _ in range(2)]

    assert sources == ["fallback", "fallback"]


async def test_an_aggregation_is_asked_for_by_name(service: InProcess) -> None:
    body = {"interactions": HISTORY, "top_k": 30}
    plain = (await service.client.post("/match", json=body)).json()["candidates"]
    named = await service.client.post("/match", json=body | {"aggregation": "max"})
    quota = await service.client.post("/match", json=body | {"aggregation": "quota"})
    wrong = await service.client.post("/match", json=body | {"aggregation": "mean"})

    assert assert_is(MatchAnswer, named)["source"] == "cache"
    assert named.json()["candidates"] == plain
    assert assert_is(MatchAnswer, quota)["source"] == "model"
    assert len(quota.json()["candidates"]) == 30
    assert quota.json()["candidates"] != plain
    assert assert_problem(wrong, 422)["errors"][0]["path"] == "aggregation"


async def test_a_sane_request_id_of_the_caller_is_kept(service: InProcess) -> None:
    kept = await service.client.get("/healthz", headers={"X-Request-ID": "trace-1.a:b"})
    replaced = await service.client.get("/healthz", headers={"X-Request-ID": "a b\tc"})

    assert kept.headers["x-request-id"] == "trace-1.a:b"
    assert len(replaced.headers["x-request-id"]) == 32


async def test_a_batch_answers_each_request_by_itself(service: InProcess) -> None:
    requests = [
        {"interactions": HISTORY, "top_k": 3},
        {"top_k": 0},
        7,
        {"interactions": HISTORY, "top_k": 3, "categories": {"deny": ["genre-1"]}},
        {"interactions": HISTORY, "top_k": 3},
    ]
    answer = assert_is(
        BatchAnswer, await service.client.post("/match/batch", json={"requests": requests})
    )
    results = answer["results"]

    assert [result.get("status") for result in results] == [None, 422, 422, None, None]
    assert results[1]["errors"][0]["path"] == "top_k"
    assert results[4]["candidates"] == results[0]["candidates"] != results[3]["candidates"]
    assert [result.get("source") for result in results] == ["model", None, None, "model", "cache"]


async def test_what_else_is_in_a_batch_changes_no_answer(service: InProcess) -> None:
    alone = (await service.client.post("/match", json={"interactions": HISTORY})).json()
    others = [{"interactions": [item_id(row)]} for row in range(20)]
    batch = await service.client.post(
        "/match/batch", json={"requests": [*others, {"interactions": HISTORY}]}
    )

    assert batch.json()["results"][-1]["candidates"] == alone["candidates"]


async def test_interests_answers_as_documented(service: InProcess) -> None:
    response = await service.client.post("/interests", json={"interactions": [*HISTORY, "nope"]})
    answer = assert_is(InterestsAnswer, response)

    assert answer["unknown_items"] == 1
    assert len(answer["interests"]) == 4


async def test_interests_refuses_the_fields_of_retrieval(service: InProcess) -> None:
    response = await service.client.post("/interests", json={"top_k": 3})

    assert assert_problem(response, 422)["errors"][0]["path"] == "top_k"


async def test_similar_answers_as_documented(service: InProcess) -> None:
    response = await service.client.get(f"/items/{item_id(7)}/similar?top_k=5")

    assert len(assert_is(SimilarAnswer, response)["candidates"]) == 5


@pytest.mark.parametrize("item", ["nope", "a%2Fb", "a/b", "%20"])
async def test_similar_to_an_unknown_item_is_404(service: InProcess, item: str) -> None:
    problem = assert_problem(await service.client.get(f"/items/{item}/similar"), 404)

    assert "catalog" in problem["detail"]


@pytest.mark.parametrize("top_k", ["0", "1001", "x"])
async def test_similar_refuses_a_wrong_top_k(service: InProcess, top_k: str) -> None:
    response = await service.client.get(f"/items/{item_id(7)}/similar?top_k={top_k}")

    assert assert_problem(response, 422)["errors"][0]["path"] == "query.top_k"


async def test_the_service_is_alive_and_ready(service: InProcess) -> None:
    assert (await service.client.get("/healthz")).json() == {"status": "ok"}
    ready = (await service.client.get("/readyz")).json()

    assert ready == {"status": "ready", "bundle_version": service.state["live"].version}


async def test_a_worker_about_to_stop_is_not_ready_but_serves(service: InProcess) -> None:
    service.state["drain"].begin()

    assert_problem(await service.client.get("/readyz"), 503)
    assert_is(MatchAnswer, await service.client.post("/match", json={"interactions": HISTORY}))


async def test_a_defect_is_a_500_without_details(
    service: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.answering.serving.match_together", lambda *_, **__: 1 / 0)
    response = await service.client.post("/match", json={})

    assert "division" not in json.dumps(assert_problem(response, 500))
    assert b'opal_requests_total{method="POST",route="/match",status="500"} 1.0' in (
        service.state["metrics"].render()
    )


async def test_requests_are_counted_by_route_template_and_status(service: InProcess) -> None:
    await service.client.get(f"/items/{item_id(1)}/similar")
    await service.client.get("/items/nope/similar")
    await service.client.request("BREW", "/nope")
    text = (await service.client.get("/metrics")).text

    route = 'route="/items/{item_id}/similar"'
    assert f'opal_requests_total{{method="GET",{route},status="200"}} 1.0' in text
    assert f'opal_requests_total{{method="GET",{route},status="404"}} 1.0' in text
    assert 'opal_requests_total{method="OTHER",route="unmatched",status="404"} 1.0' in text


async def test_overload_is_503_with_retry_after(registry_path: Path) -> None:
    async with service_in_process(registry_path, max_pending=1) as service:
        bodies = [{"interactions": [item_id(row)]} for row in range(20)]
        responses = await asyncio.gather(
            *(service.client.post("/match", json=body) for body in bodies)
        )
    refused = [response for response in responses if response.status_code != 200]

    assert refused
    assert len(refused) < len(responses)
    for response in refused:
        assert_problem(response, 503)
        assert response.headers["retry-after"] == "1"


async def test_without_a_bundle_the_service_is_alive_but_not_ready(tmp_path: Path) -> None:
    async with service_in_process(tmp_path / "none", wait_for_bundle=True) as service:
        assert (await service.client.get("/healthz")).status_code == 200
        assert_problem(await service.client.get("/readyz"), 503)
        assert_problem(await service.client.post("/match", json={}), 503)
        assert_problem(await service.client.post("/admin/reload"), 503)
        bundles = assert_is(BundlesAnswer, await service.client.get("/admin/bundles"))
        batch = await service.client.post("/match/batch", json={"requests": [{}]})

    assert bundles == {"live": None, "current": None, "bundles": []}
    assert batch.json()["results"][0]["status"] == 503


@pytest.mark.parametrize("item", ["%ed%a0%80", "%ff", "a%C3"])
async def test_an_id_in_the_path_that_is_not_utf8_is_422(service: InProcess, item: str) -> None:
    problem = assert_problem(await service.client.get(f"/items/{item}/similar"), 422)

    assert problem["errors"][0]["path"] == "path.item_id"


async def test_every_request_is_logged_where_that_is_asked_for(
    registry_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with service_in_process(registry_path, access_log=True) as service:
        await service.client.get("/healthz")

    assert "GET /healthz 200" in caplog.text


async def test_without_a_cache_every_answer_is_computed(registry_path: Path) -> None:
    async with service_in_process(registry_path, cache_ttl=0) as service:
        for _ in range(2):
            answer = await service.client.post("/match", json={"interactions": HISTORY})
            assert answer.json()["source"] == "model"


async def test_a_deadline_that_passed_in_the_queue_is_504(service: InProcess) -> None:
    async def ask(number: int, **headers: str) -> httpx.Response:
        body = {"interactions": [item_id(number)], "top_k": 290, "diversity": 0.5}
        return await service.client.post("/match", json=body, headers=headers)

    before = [asyncio.create_task(ask(number)) for number in range(60)]
    late = await ask(100, **{"X-Timeout-Ms": "1"})
    in_time = await ask(101, **{"X-Timeout-Ms": "60000"})
    await asyncio.gather(*before)

    assert_problem(late, 504)
    assert in_time.status_code == 200


async def test_a_shorter_answer_is_a_prefix_of_a_longer_one(service: InProcess) -> None:
    answers = {}
    for top_k in (1, 7, 100, 250):
        body = {"interactions": HISTORY, "top_k": top_k}
        answers[top_k] = (await service.client.post("/match", json=body)).json()["candidates"]

    for top_k, candidates in answers.items():
        assert candidates == answers[250][:top_k]


async def test_the_page_of_the_api_needs_no_other_host(service: InProcess) -> None:
    page = (await service.client.get("/docs")).text
    links = re.findall(r'(?:src|href|url)[=:] ?[\'"]([^\'"]+)', page)

    assert len(links) == 4
    for link in links:
        assert link.startswith("/")
        assert (await service.client.get(link)).status_code == 200


async def test_answers_are_compact_json(service: InProcess) -> None:
    response = await service.client.post("/match", json={"interactions": HISTORY})

    assert response.content == orjson.dumps(response.json())
