"""A bundle of the optional kind behind real HTTP: it goes live, answers, filters, takes down."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from index.__main__ import main
from index.registry.registry import Registry
from tests.bundles import item_id, write_run
from tests.optional import needs_scann
from tests.services import ServiceProcess, wait_until

pytestmark = needs_scann

HISTORY = [item_id(row) for row in (0, 4, 8, 12)]  # all of genre-0
ALL = 2000
SECOND = 1.0  # within which the API promises a takedown


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the command, as a person does."""
    folder = tmp_path_factory.mktemp("scann")
    run = write_run(folder / "run", n_items=ALL, stage="hard", seed=5)
    out = folder / "bundle"
    assert main(["build", str(run), "--out", str(out), "--kind", "scann", "--recall", "0.9"]) == 0
    return out


def match(service: ServiceProcess, **body: Any) -> list[dict[str, Any]]:
    answer = httpx.post(f"{service.url}/match", json={"interactions": HISTORY, **body})
    answer.raise_for_status()
    candidates: list[dict[str, Any]] = answer.json()["candidates"]
    return candidates


def ids(candidates: list[dict[str, Any]]) -> list[str]:
    return [each["item_id"] for each in candidates]


def test_a_scann_bundle_goes_live_and_keeps_the_promises_of_the_api(
    registry_path: Path, bundle_path: Path, tmp_path: Path
) -> None:
    log = tmp_path / "service.log"
    with ServiceProcess(registry_path, log, workers=2, reload_interval=0.1) as service:
        version = Registry(registry_path).publish(bundle_path)
        live = f'opal_bundle_info{{index_kind="scann",model="opal",version="{version}"}}'
        wait_until(lambda: service.metric(live) == 2, what="both workers to take it")

        plain = match(service, top_k=50)
        few = match(service, top_k=30, categories={"allow": ["evergreen"]})
        others = match(service, top_k=30, categories={"deny": ["genre-0", "genre-1"]})
        everything = match(service, top_k=1000, exclude_seen=False)
        taken = plain[0]["item_id"]
        httpx.put(f"{service.url}/admin/takedowns/{taken}").raise_for_status()
        time.sleep(SECOND)  # by then it is in force on the other worker too
        after = match(service, top_k=50, exclude=[plain[1]["item_id"]])
        batch = httpx.post(
            f"{service.url}/match/batch",
            json={"requests": [{"interactions": HISTORY, "top_k": 5 + each} for each in range(8)]},
        ).json()["results"]
        similar = httpx.get(f"{service.url}/items/{item_id(7)}/similar?top_k=20").json()
        alone = [match(service, top_k=5 + each) for each in range(8)]

    assert len(set(ids(plain))) == 50
    assert not set(ids(plain)) & set(HISTORY)
    assert [each["score"] for each in plain] == sorted((e["score"] for e in plain), reverse=True)
    assert len(set(ids(few))) == 30
    assert all(int(each[-4:]) % 7 == 0 for each in ids(few))
    assert len(set(ids(others))) == 30
    assert all(int(each[-4:]) % 4 in {2, 3} for each in ids(others))
    assert len(set(ids(everything))) == 1000
    assert not {taken, plain[1]["item_id"]} & set(ids(after))
    assert len(set(ids(after))) == 50
    assert [each["candidates"] for each in batch] == alone
    assert len(set(ids(similar["candidates"]))) == 20


def test_a_service_without_scann_keeps_what_it_serves(
    registry_path: Path, bundle_path: Path, tmp_path: Path
) -> None:
    """A package of the same name, which cannot be imported, stands in for none."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "scann.py").write_text("raise ImportError('not here')")
    service = ServiceProcess(registry_path, tmp_path / "log", workers=1, reload_interval=0.1)
    service._environment["PYTHONPATH"] = f"{tmp_path / 'path'}:{service._environment['PYTHONPATH']}"
    refused = 'opal_reloads_total{outcome="refused"}'
    with service:
        first = service.announcement["bundle_version"]
        second = Registry(registry_path).publish(bundle_path)
        wait_until(lambda: service.metric(refused) >= 1, what="the refusal")

        answer = httpx.post(f"{service.url}/match", json={"interactions": HISTORY}).json()
        listed = httpx.get(f"{service.url}/admin/bundles").json()["bundles"]

    assert answer["bundle_version"] == first
    reasons = {each["version"]: each["refused"] for each in listed}
    assert "pip install 'opal-match[scann]'" in reasons[second]
