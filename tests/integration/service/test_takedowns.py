"""Takedowns on real workers: followed within a second, and kept whatever is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from index.registry.registry import Registry
from index.takedowns.takedown_file import TakedownFile
from tests.bundles import item_id
from tests.redis_server import RedisServer
from tests.services import ServiceProcess, service_environment, wait_until

HISTORY = [item_id(row) for row in (1, 5, 9)]
WAYS: dict[str, dict[str, Any]] = {
    "match": {"interactions": HISTORY, "top_k": 5},
    "varied": {"interactions": HISTORY, "top_k": 5, "diversity": 0.5},
    "fallback": {"interactions": [], "top_k": 5},
}
# What the API promises; on an idle machine it takes about OPAL_TAKEDOWN_INTERVAL (0.25 s).
SECOND = 1.0


def served(service: ServiceProcess, way: str) -> list[str]:
    """Ask on a connection of its own, which any worker may get."""
    if way == "similar":
        answer = httpx.get(f"{service.url}/items/{item_id(7)}/similar?top_k=5")
    else:
        answer = httpx.post(f"{service.url}/match", json=WAYS[way])
    answer.raise_for_status()
    return [each["item_id"] for each in answer.json()["candidates"]]


def put(service: ServiceProcess, taken: str) -> Any:
    answer = httpx.put(f"{service.url}/admin/takedowns/{taken}")
    answer.raise_for_status()
    return answer.json()


def listed(service: ServiceProcess) -> set[str]:
    answer = httpx.get(f"{service.url}/admin/takedowns").json()
    return {each["item_id"] for each in answer["takedowns"]}


class Watch:
    """Asks in every way, on new connections without pause, and notes when an item is served."""

    def __init__(self, service: ServiceProcess) -> None:
        self._service = service
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(way,)) for way in (*WAYS, "similar")
        ]
        self.last_served: dict[str, float] = {}
        """When the question was asked whose answer had the item, by item id."""
        self.answers = 0
        self.failures: list[str] = []

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, way: str) -> None:
        while not self._stop.is_set():
            asked = time.monotonic()
            try:
                for item in served(self._service, way):
                    self.last_served[item] = max(asked, self.last_served.get(item, 0.0))
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
            self.answers += 1


@pytest.fixture(params=["file", "redis"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Where takedowns are kept, in both ways."""
    if request.param == "file":
        return {}
    redis: RedisServer = request.getfixturevalue("redis")
    return {"redis_url": redis.url}


@pytest.fixture
def start(
    registry_path: Path, tmp_path: Path, settings: dict[str, Any]
) -> Callable[..., ServiceProcess]:
    return lambda **more: ServiceProcess(
        registry_path, tmp_path / "service.log", **{"workers": 2, **settings, **more}
    )


@pytest.fixture
def service(start: Callable[..., ServiceProcess]) -> Iterator[ServiceProcess]:
    with start() as running:
        yield running


def test_no_worker_serves_an_item_a_second_after_it_was_taken_down(
    service: ServiceProcess,
) -> None:
    taken = [served(service, way)[0] for way in (*WAYS, "similar")]
    put_at: dict[str, float] = {}
    with Watch(service) as watch:
        wait_until(lambda: watch.answers > 40, what="answers")
        assert set(taken) <= set(watch.last_served)
        for each in taken:
            assert put(service, each)["item_id"] == each
            put_at[each] = time.monotonic()
        time.sleep(2 * SECOND)
        asked = watch.answers
        wait_until(lambda: watch.answers > asked + 40, what="answers afterwards")

    assert watch.failures == []
    late = {each: watch.last_served[each] - put_at[each] for each in taken}
    assert max(late.values()) < SECOND, late
    assert service.metric("opal_takedowns") == len(set(taken))
    # Found in the cache again, without them.
    assert not set(served(service, "match")) & set(taken)
    assert service.metric('opal_cache_lookups_total{result="hit",tier="memory"}') > 0


def test_what_is_lifted_is_served_again(service: ServiceProcess) -> None:
    taken = served(service, "match")[0]
    put(service, taken)
    time.sleep(SECOND)
    httpx.delete(f"{service.url}/admin/takedowns/{taken}").raise_for_status()
    time.sleep(SECOND)

    assert all(served(service, "match")[0] == taken for _ in range(20))


def test_takedowns_outlive_restarts_new_bundles_and_new_workers(
    start: Callable[..., ServiceProcess], registry_path: Path, bundle_paths: list[Path]
) -> None:
    with start(reload_interval=0.1) as service:
        taken = {served(service, way)[0] for way in (*WAYS, "similar")}
        for each in taken:
            put(service, each)
        version = Registry(registry_path).publish(bundle_paths[1])
        series = f'opal_bundle_info{{index_kind="flat",model="opal",version="{version}"}}'
        wait_until(lambda: service.metric(series) == 2, what="both workers to swap")
        os.kill(min(service.worker_pids()), signal.SIGKILL)
        wait_until(lambda: service.metric("opal_workers_ready") == 1, what="a worker less")
        wait_until(lambda: service.metric("opal_workers_ready") == 2, what="a new worker")
        for way in (*WAYS, "similar"):
            for _ in range(6):
                assert not set(served(service, way)) & taken
    Registry(registry_path).rollback()
    with start() as service:
        assert listed(service) == taken
        for way in (*WAYS, "similar"):
            for _ in range(6):
                assert not set(served(service, way)) & taken


def test_a_takedown_that_was_answered_outlives_the_death_of_all_processes(
    start: Callable[..., ServiceProcess],
) -> None:
    taken: list[str] = []
    for number in range(3):
        with start() as service:
            workers = service.worker_pids()
            assert listed(service) == set(taken)
            taken.append(served(service, "match")[number])
            put(service, taken[-1])
            for pid in (service.process.pid, *workers):
                os.kill(pid, signal.SIGKILL)
            service.process.wait()
    with start() as service:
        assert listed(service) == set(taken)
        assert not set(served(service, "match")) & set(taken)


def test_takedowns_of_many_callers_at_once_are_all_kept(
    service: ServiceProcess, registry_path: Path
) -> None:
    ids = {f"many-{number}" for number in range(60)}
    with ThreadPoolExecutor(6) as callers:
        assert all(callers.map(lambda each: put(service, each)["new"], ids))
        gone = sorted(ids)[:20]
        statuses = callers.map(
            lambda each: httpx.delete(f"{service.url}/admin/takedowns/{each}").status_code, gone
        )
        assert set(statuses) == {200}

    assert listed(service) == ids - set(gone)
    ledger = TakedownFile(registry_path).read()
    assert ledger is not None
    assert set(ledger.takedowns) == ids - set(gone)


def test_two_services_on_one_registry_follow_each_other(
    registry_path: Path, tmp_path: Path
) -> None:
    with (
        ServiceProcess(registry_path, tmp_path / "one.log", workers=1) as one,
        ServiceProcess(registry_path, tmp_path / "other.log", workers=1) as other,
    ):
        taken = served(other, "match")[0]
        put(one, taken)
        put(other, "x")
        time.sleep(SECOND)

        assert taken not in served(other, "match")
        assert listed(one) == listed(other) == {taken, "x"}


def test_a_damaged_file_keeps_the_service_from_starting_with_one_clear_line(
    registry_path: Path, tmp_path: Path
) -> None:
    file = TakedownFile(registry_path).path
    file.parent.mkdir()
    file.write_text("nonsense")
    done = subprocess.run(
        [sys.executable, "-m", "service", "--registry", str(registry_path), "--port", "0"],
        env=service_environment(wait_for_bundle="true"),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 1
    assert "takedowns/ledger.jsonl: damaged" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_worker_that_cannot_start_again_says_why_in_one_line_each_time(
    registry_path: Path, tmp_path: Path
) -> None:
    with ServiceProcess(registry_path, tmp_path / "service.log", workers=2) as service:
        put(service, item_id(1))
        ledger = TakedownFile(registry_path).path
        sound = ledger.read_bytes()
        ledger.write_bytes(b"nonsense")
        os.kill(min(service.worker_pids()), signal.SIGKILL)

        def of_starts() -> list[str]:
            return [line for line in service.log().splitlines() if "cannot start" in line]

        wait_until(lambda: len(of_starts()) >= 2, seconds=30, what="two starts that fail")
        ledger.write_bytes(sound)
        wait_until(lambda: service.metric("opal_workers_ready") == 2, seconds=30, what="both again")
        log = service.log()

    assert all("takedowns/ledger.jsonl: damaged" in line for line in of_starts())
    assert "Traceback" not in log
    said_by = [json.loads(line)["logger"] for line in log.splitlines()]
    assert not [name for name in said_by if name.startswith("uvicorn")]
