"""Real worker processes over real HTTP: metrics, death, reload under load, shutdown."""

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from index.bundles.manifest import read_manifest
from index.registry.registry import Registry
from tests.bundles import item_id
from tests.redis_server import RedisServer
from tests.service_load import BODY, Load
from tests.services import ServiceProcess, wait_until


@pytest.fixture(scope="module")
def shared_registry(tmp_path_factory: pytest.TempPathFactory, bundle_paths: list[Path]) -> Registry:
    registry = Registry(tmp_path_factory.mktemp("shared") / "registry")
    registry.publish(bundle_paths[0])
    return registry


@pytest.fixture(scope="module")
def service(shared_registry: Registry) -> Iterator[ServiceProcess]:
    """Two workers that most tests share: starting them takes seconds."""
    log = shared_registry.path.parent / "service.log"
    with ServiceProcess(shared_registry.path, log, reload_interval=0.1) as running:
        yield running


@pytest.fixture
def other_bundle(shared_registry: Registry, bundle_paths: list[Path]) -> Path:
    """The bundle that is not CURRENT now."""
    names = {path: read_manifest(path).version for path in bundle_paths}
    return next(path for path, name in names.items() if name != shared_registry.current())


def workers_on(service: ServiceProcess, version: str) -> float:
    return service.metric(f'opal_bundle_info{{index_kind="flat",model="opal",version="{version}"}}')


def live_version(service: ServiceProcess) -> str:
    version: str = httpx.get(f"{service.url}/readyz").json()["bundle_version"]
    return version


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's scheduling policies")
def test_a_workers_loop_does_not_interrupt_what_computes(service: ServiceProcess) -> None:
    policies = {os.sched_getscheduler(pid) for pid in service.worker_pids()}

    # What computes: tests/unit/service/answering/test_scheduling.py.
    assert policies == {os.SCHED_BATCH}


def test_publishing_under_load_swaps_all_workers_without_a_failed_request(
    service: ServiceProcess, shared_registry: Registry, other_bundle: Path
) -> None:
    first = live_version(service)
    with Load(service.url) as load:
        wait_until(lambda: load.versions[first] > 20, what="load")
        second = shared_registry.publish(other_bundle)
        wait_until(lambda: workers_on(service, second) == 2, what="both workers to swap")
        before = load.versions[second]
        wait_until(lambda: load.versions[second] > before + 20, what="more load")

    assert load.failures == []
    assert set(load.versions) == {first, second}
    assert workers_on(service, first) == 0


def test_a_reload_asked_of_one_worker_reaches_all_and_a_rollback_too(
    service: ServiceProcess, shared_registry: Registry, other_bundle: Path
) -> None:
    first = live_version(service)
    second = shared_registry.publish(other_bundle, activate=False)

    answer = httpx.post(f"{service.url}/admin/reload", json={"version": second}).json()
    assert answer == {"bundle_version": second, "previous": first}
    wait_until(lambda: workers_on(service, second) == 2, what="both workers to follow")

    httpx.post(f"{service.url}/admin/rollback").raise_for_status()
    wait_until(lambda: workers_on(service, first) == 2, what="both workers to go back")


def test_a_damaged_bundle_under_a_running_service_changes_nothing(
    service: ServiceProcess, shared_registry: Registry, other_bundle: Path
) -> None:
    first = live_version(service)
    bad = shared_registry.publish(other_bundle, activate=False)
    file = shared_registry.bundle_path(bad) / "encoder.safetensors"
    good_bytes = file.read_bytes()
    file.write_bytes(b"broken")
    (shared_registry.path / "CURRENT").write_text(bad)
    wait_until(
        lambda: service.metric('opal_reloads_total{outcome="refused"}') == 2, what="two refusals"
    )
    answer = httpx.post(f"{service.url}/match", json=BODY).json()
    file.write_bytes(good_bytes)
    (shared_registry.path / "CURRENT").write_text(first)

    assert answer["bundle_version"] == first
    assert "encoder.safetensors" in service.log()


def test_requests_over_two_workers_are_counted_exactly(service: ServiceProcess) -> None:
    counted = [
        'opal_requests_total{method="POST",route="/match",status="200"}',
        'opal_request_seconds_count{route="/match"}',
    ]
    before = [service.metric(series) for series in counted]
    with ThreadPoolExecutor(4) as threads:
        requests = [
            threads.submit(
                httpx.post, f"{service.url}/match", json=BODY | {"top_k": 1 + number % 20}
            )
            for number in range(200)
        ]
        answers = [request.result() for request in requests]

    assert [answer.status_code for answer in answers] == [200] * 200
    assert len(service.worker_pids()) == 2
    assert [service.metric(series) for series in counted] == [value + 200 for value in before]
    # Each of the 20 answers was computed at most once in each worker, and is the same in both.
    computed = [answer.json() for answer in answers if answer.json()["source"] == "model"]
    assert len(computed) <= 40
    of_length = {len(answer["candidates"]): answer["candidates"] for answer in computed}
    for answer in answers:
        candidates = answer.json()["candidates"]
        assert candidates == of_length.get(len(candidates), candidates)


def test_hostile_input_leaves_the_service_alive(service: ServiceProcess) -> None:
    pids = service.worker_pids()
    with httpx.Client(base_url=service.url) as client:
        for body, status in (
            (b"x" * 5_000_000, 413),
            (b"{", 400),
            (b"[" * 500_000, 400),
            (b'{"top_k": ' + b"9" * 10_000 + b"}", 400),
            (b'{"interactions": [true]}', 422),
            (b'{"interactions": [""]}', 422),
            (b'{"diversity": NaN}', 422),
            (b'{"nope": 0}', 422),
        ):
            for _ in range(4):
                response = client.post("/match", content=body)
                assert response.status_code == status
                assert response.headers["content-type"] == "application/problem+json"
        assert client.post("/match", json=BODY).status_code == 200

    assert service.worker_pids() == pids


def test_threads_and_metrics_are_set_before_a_worker_imports_anything(
    service: ServiceProcess,
) -> None:
    for pid in service.worker_pids():
        environment = environment_of(pid)
        assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
        assert Path(environment["PROMETHEUS_MULTIPROC_DIR"]).is_dir()


def test_a_killed_worker_is_replaced_and_its_gauges_go(service: ServiceProcess) -> None:
    series = 'opal_requests_total{method="POST",route="/match",status="200"}'
    before = service.metric(series)
    for _ in range(30):
        httpx.post(f"{service.url}/match", json=BODY).raise_for_status()
    # A request is counted after its answer is sent, which a kill may come before.
    wait_until(lambda: service.metric(series) == before + 30, what="the count of the last request")
    victim = min(service.worker_pids())
    os.kill(victim, signal.SIGKILL)
    wait_until(
        lambda: len(service.worker_pids()) == 2 and victim not in service.worker_pids(),
        what="a new worker",
    )
    wait_until(lambda: service.metric("opal_workers_ready") == 2, what="two ready workers")

    # Neither lost nor counted twice: what the dead one has counted stays.
    assert service.metric(series) == before + 30


def test_a_service_keeps_its_workers_when_a_new_one_cannot_start(
    service: ServiceProcess, shared_registry: Registry
) -> None:
    kept = (shared_registry.path / "CURRENT").read_text()
    died = service.log().count(" died ")
    (shared_registry.path / "CURRENT").write_text("broken")
    victim, survivor = sorted(service.worker_pids())
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: service.log().count(" died ") >= died + 2, what="one that cannot start")
    for _ in range(10):
        httpx.post(f"{service.url}/match", json=BODY).raise_for_status()
    assert survivor in service.worker_pids()

    (shared_registry.path / "CURRENT").write_text(kept)
    wait_until(lambda: service.metric("opal_workers_ready") == 2, what="two ready workers")


def test_sigterm_finishes_what_is_in_flight_and_exits_with_0(
    registry_path: Path, tmp_path: Path
) -> None:
    many = {"requests": [BODY | {"interactions": [item_id(n)], "top_k": 290} for n in range(250)]}
    log = tmp_path / "service.log"
    with ServiceProcess(registry_path, log) as service, ThreadPoolExecutor(2) as threads:
        in_flight = [
            threads.submit(httpx.post, f"{service.url}/match/batch", json=many, timeout=30)
            for _ in range(2)
        ]
        wait_until(lambda: service.metric("opal_batch_size_count") >= 1, what="work in flight")
        status = service.stop()
        answers = [request.result() for request in in_flight]

    assert status == 0
    for answer in answers:
        assert answer.status_code == 200
        assert len(answer.json()["results"]) == 250
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{service.url}/healthz")
    assert "Traceback" not in service.log()


def test_before_it_stops_the_service_says_that_it_is_not_ready(
    registry_path: Path, tmp_path: Path
) -> None:
    with ServiceProcess(registry_path, tmp_path / "service.log", drain_seconds=1) as service:
        metrics = Path(environment_of(min(service.worker_pids()))["PROMETHEUS_MULTIPROC_DIR"])
        service.process.send_signal(signal.SIGTERM)
        wait_until(
            lambda: httpx.get(f"{service.url}/readyz").status_code == 503, what="not to be ready"
        )
        assert httpx.post(f"{service.url}/match", json=BODY).status_code == 200
        assert service.stop() == 0

    assert not metrics.exists()


def test_workers_do_not_outlive_a_killed_parent(registry_path: Path, tmp_path: Path) -> None:
    with ServiceProcess(registry_path, tmp_path / "service.log") as service:
        service.process.kill()
        service.process.wait()

        def nobody_answers() -> bool:
            try:
                httpx.get(f"{service.url}/healthz")
            except httpx.HTTPError:
                return True
            return False

        wait_until(nobody_answers, what="the workers to stop")


def test_a_service_may_wait_for_its_first_bundle(tmp_path: Path, bundle_paths: list[Path]) -> None:
    registry = tmp_path / "registry"
    log = tmp_path / "service.log"
    with ServiceProcess(registry, log, wait_for_bundle=True, reload_interval=0.1) as service:
        assert service.announcement["bundle_version"] is None
        assert httpx.get(f"{service.url}/readyz").status_code == 503
        assert httpx.post(f"{service.url}/match", json=BODY).status_code == 503
        Registry(registry).publish(bundle_paths[0])
        wait_until(lambda: service.metric("opal_workers_ready") == 2, what="ready workers")
        assert httpx.post(f"{service.url}/match", json=BODY).status_code == 200


def test_workers_share_answers_by_redis_and_go_on_without_it(
    registry_path: Path, tmp_path: Path, redis: RedisServer
) -> None:
    log = tmp_path / "service.log"
    with (
        ServiceProcess(registry_path, log, redis_url=redis.url) as service,
        Load(service.url) as load,
    ):
        wait_until(lambda: sum(load.versions.values()) > 50, what="load")
        redis.freeze()
        frozen_at = sum(load.versions.values())
        wait_until(lambda: sum(load.versions.values()) > frozen_at + 50, what="answers, frozen")
        redis.kill()
        killed_at = sum(load.versions.values())
        wait_until(lambda: sum(load.versions.values()) > killed_at + 50, what="answers, killed")

    assert load.failures == []


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
