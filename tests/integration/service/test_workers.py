"""Workers that are killed again and again, restarted by a signal, or left without a parent."""

import os
import signal
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from index.registry.registry import Registry
from tests.bundles import build_small_bundle
from tests.service_load import BODY, Load
from tests.services import ServiceProcess, children_of, command_line, wait_until

MATCHES = 'opal_requests_total{method="POST",route="/match",status="200"}'
SECONDS = 'opal_request_seconds_count{route="/match"}'


@pytest.fixture
def service(registry_path: Path, tmp_path: Path) -> Iterator[ServiceProcess]:
    log = tmp_path / "service.log"
    with ServiceProcess(registry_path, log, reload_interval=0.1) as running:
        yield running


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for has too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def metric_files(service: ServiceProcess) -> list[str]:
    """Names of the files in which the service keeps its metrics."""
    environment = Path(f"/proc/{min(service.worker_pids())}/environ").read_bytes().split(b"\0")
    (folder,) = [each for each in environment if each.startswith(b"PROMETHEUS_MULTIPROC_DIR=")]
    return [path.name for path in Path(folder.decode().partition("=")[2]).glob("*.db")]


def test_sighup_replaces_all_workers_without_a_failed_request(
    service: ServiceProcess, registry_path: Path, tmp_path: Path
) -> None:
    before = service.worker_pids()
    with Load(service.url) as load:
        wait_until(lambda: sum(load.versions.values()) > 50, what="load")
        service.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: len(service.worker_pids()) == 2 and not before & service.worker_pids(),
            seconds=30,
            what="two new workers",
        )
        wait_until(lambda: service.metric("opal_workers_ready") == 2, what="two ready workers")
        asked = sum(load.versions.values())
        wait_until(lambda: sum(load.versions.values()) > asked + 50, what="load afterwards")

    assert load.failures == []
    assert service.metric(MATCHES) == service.metric(SECONDS) == sum(load.versions.values())

    after = service.worker_pids()
    service.process.kill()
    service.process.wait()
    wait_until(lambda: all(is_gone(pid) for pid in after), what="workers to end with the parent")
    # Its metrics could not be put away; the next service in the same place does it.
    (left,) = tmp_path.glob("opal-metrics-*")
    with ServiceProcess(registry_path, tmp_path / "next.log", workers=1):
        assert not left.exists()
        assert len(list(tmp_path.glob("opal-metrics-*"))) == 1


def test_a_worker_that_stops_ends_kept_connections_with_an_answer(
    registry_path: Path, tmp_path: Path
) -> None:
    with ServiceProcess(registry_path, tmp_path / "service.log", workers=1) as service:
        address = service.url.removeprefix("http://")
        kept = HTTPConnection(address, timeout=5)
        said = None
        (pid,) = service.worker_pids()
        for number in range(200):
            kept.request("GET", "/healthz")
            answer = kept.getresponse()
            answer.read()
            assert answer.status == 200
            said = answer.getheader("connection")
            if said == "close":
                break
            if number == 0:
                kept.auto_open = 0  # from here on it must be the same connection
                os.kill(pid, signal.SIGTERM)
            time.sleep(0.01)
        kept.close()

    assert said == "close"


@pytest.mark.parametrize("number", [signal.SIGTTIN, signal.SIGTTOU])
def test_signals_for_more_or_fewer_workers_change_nothing(
    service: ServiceProcess, number: signal.Signals
) -> None:
    before = service.worker_pids()
    service.process.send_signal(number)
    wait_until(lambda: "signal ignored" in service.log(), what="the signal")

    assert service.worker_pids() == before


def test_totals_survive_many_deaths_and_files_stay_few(service: ServiceProcess) -> None:
    files = len(metric_files(service))
    for died in range(1, 5):
        for _ in range(10):
            httpx.post(f"{service.url}/match", json=BODY).raise_for_status()
        # A request is counted after its answer is sent, which a kill may come before.
        wait_until(lambda: service.metric(SECONDS) == 10 * died, what="the last count")  # noqa: B023
        before = service.worker_pids()
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        wait_until(
            lambda: len(service.worker_pids()) == 2 and service.worker_pids() != before,  # noqa: B023
            what="a new worker",
        )
        wait_until(lambda: service.metric("opal_workers_ready") == 2, what="two ready workers")
        assert service.metric(MATCHES) == service.metric(SECONDS) == 10 * died
        assert len(metric_files(service)) <= files + 2


def test_a_bundle_mended_on_disk_goes_live_in_all_workers(
    service: ServiceProcess, registry_path: Path, tmp_path: Path
) -> None:
    registry = Registry(registry_path)
    other = build_small_bundle(tmp_path, name="other", seed=1)
    bad = registry.publish(other, activate=False)
    file = registry.bundle_path(bad) / "encoder.safetensors"
    good_bytes = file.read_bytes()
    file.write_bytes(b"broken")
    (registry_path / "CURRENT").write_text(bad)
    wait_until(
        lambda: service.metric('opal_reloads_total{outcome="refused"}') >= 2, what="two refusals"
    )
    file.write_bytes(good_bytes)
    series = f'opal_bundle_info{{index_kind="flat",model="opal",version="{bad}"}}'
    wait_until(lambda: service.metric(series) == 2, what="both workers to try again")


def test_workers_are_replaced_when_the_process_that_forks_them_was_killed(
    service: ServiceProcess,
) -> None:
    """It shares what workers import; nothing that serves depends on it, and nothing is lost."""
    [forking] = [
        pid for pid in children_of(service.process.pid) if "forkserver" in command_line(pid)
    ]
    counted = service.metric(SECONDS)
    for _ in range(20):
        httpx.post(f"{service.url}/match", json=BODY).raise_for_status()
    wait_until(lambda: service.metric(SECONDS) == counted + 20, what="the last count")
    before = service.worker_pids()
    os.kill(forking, signal.SIGKILL)

    wait_until(lambda: len(service.worker_pids() - before) == 2, seconds=30, what="new workers")
    wait_until(lambda: service.metric("opal_workers_ready") == 2, what="two ready workers")
    httpx.post(f"{service.url}/match", json=BODY).raise_for_status()
    assert all(is_gone(pid) for pid in before)
    assert service.metric(SECONDS) >= counted + 20


def test_what_workers_import_is_shared(service: ServiceProcess) -> None:
    def kib(pid: int, name: str) -> int:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(name))

    for pid in service.worker_pids():
        assert kib(pid, "Private_") < 0.6 * kib(pid, "Rss:")
