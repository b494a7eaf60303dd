"""The parent process, as far as it goes without starting a service; the rest is integration."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from index.registry import Registry
from model.errors import BundleError, InputError, RegistryError
from service.__main__ import main
from service.server import (
    THREAD_VARIABLES,
    Supervisor,
    Worker,
    bind,
    check_apart,
    check_registry,
    metrics_folder,
    serve,
    worker_environment,
)
from service.settings import Settings
from tests.services import wait_until


class FakeWorker:
    """A worker without a process."""

    def __init__(self, *, alive: bool = True, exitcode: int | None = None) -> None:
        self.alive, self.exitcode, self.pid = alive, exitcode, 4_000_000
        self.calls: list[str] = []

    def is_alive(self, timeout: float = 5) -> bool:
        return self.alive

    def is_ready(self, timeout: float = 5) -> bool:
        return self.alive

    def __getattr__(self, name: str) -> Any:
        return lambda: self.calls.append(name)


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor whose workers are fakes."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTTIN)
    before = {
        number: signal.getsignal(number)
        for number in (*handled, signal.SIGTTOU, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
    }
    with bind("127.0.0.1", 0) as listener:
        made = Supervisor(
            uvicorn.Config("service.app:create_app", factory=True, workers=2, log_config=None),
            listener,
            drain_seconds=0,
            announcement={"url": "http://test", "workers": 2, "bundle_version": "v"},
            as_json=True,
        )
        monkeypatch.setattr(made, "_start_worker", FakeWorker)
        made.init_processes()
        yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def fakes(supervisor: Supervisor) -> list[Any]:
    return list(supervisor.processes)


def test_it_tells_its_address_once_when_all_workers_serve(
    supervisor: Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes(supervisor)[1].is_ready = lambda timeout=5: False
    supervisor.keep_subprocess_alive()
    assert capsys.readouterr().out == ""

    del fakes(supervisor)[1].is_ready
    supervisor.keep_subprocess_alive()
    supervisor.keep_subprocess_alive()

    assert json.loads(capsys.readouterr().out) == {
        "url": "http://test",
        "workers": 2,
        "bundle_version": "v",
    }


def test_a_dead_worker_is_replaced_and_its_gauges_are_removed(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    dead = fakes(supervisor)[0]
    dead.alive, dead.exitcode = False, -9
    gauge = tmp_path / f"gauge_livesum_{dead.pid}.db"
    counter = tmp_path / f"counter_{dead.pid}.db"
    gauge.touch()
    counter.touch()
    supervisor.keep_subprocess_alive()

    assert dead not in fakes(supervisor)
    assert len(fakes(supervisor)) == 2
    assert dead.calls == ["kill", "join"]
    assert not gauge.exists()
    assert counter.exists()


def test_it_gives_up_if_no_worker_can_start(supervisor: Supervisor) -> None:
    dead = fakes(supervisor)[0]
    dead.alive, dead.exitcode = False, STARTUP_FAILURE
    supervisor.keep_subprocess_alive()

    assert supervisor.failed
    assert supervisor.should_exit.is_set()


def test_it_does_not_give_up_once_all_have_served(supervisor: Supervisor) -> None:
    supervisor.keep_subprocess_alive()
    dead = fakes(supervisor)[0]
    dead.alive, dead.exitcode = False, STARTUP_FAILURE
    supervisor.keep_subprocess_alive()

    assert not supervisor.failed
    assert dead not in fakes(supervisor)


def test_nothing_is_replaced_while_it_stops(supervisor: Supervisor) -> None:
    dead = fakes(supervisor)[0]
    dead.alive = False
    supervisor.should_exit.set()
    supervisor.keep_subprocess_alive()

    assert dead in fakes(supervisor)


def test_on_sigterm_workers_are_told_first(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda pid, number: told.append((pid, number)))
    fakes(supervisor)[1].exitcode = 0
    supervisor.handle_term()

    assert told == [(4_000_000, signal.SIGUSR1)]
    assert supervisor.should_exit.is_set()


def test_it_stops_listening_before_it_stops_the_workers(supervisor: Supervisor) -> None:
    supervisor.terminate_all()

    assert supervisor.sockets[0].fileno() == -1
    assert all(worker.calls == ["terminate"] for worker in fakes(supervisor))


def test_a_bound_address_is_taken_at_once() -> None:
    with bind("127.0.0.1", 0) as listener, pytest.raises(InputError, match="choose another"):
        bind("127.0.0.1", listener.getsockname()[1])


def test_a_name_that_is_no_address_is_told() -> None:
    with pytest.raises(InputError, match=r"no such host\.invalid"):
        bind("no such host.invalid", 0)


def test_ipv6_addresses_can_be_bound() -> None:
    with bind("::1", 0) as listener:
        assert listener.family == socket.AF_INET6


def test_workers_get_settings_threads_and_the_metrics_folder() -> None:
    settings = Settings(registry=Path("registry"), threads=3, workers=2)
    environment = worker_environment(settings, Path("metrics"))

    assert {environment[name] for name in THREAD_VARIABLES} == {"3"}
    assert environment["PROMETHEUS_MULTIPROC_DIR"] == "metrics"
    assert Path(environment["OPAL_REGISTRY"]).is_absolute()


def test_the_metrics_folder_is_new_and_goes_away() -> None:
    with metrics_folder() as folder:
        assert list(folder.iterdir()) == []
        (folder / "counter_1.db").touch()

    assert not folder.exists()


def test_the_check_names_the_live_version(registry_path: Path) -> None:
    assert check_registry(registry_path) == Registry(registry_path).current()


def test_the_check_tells_what_is_missing(tmp_path: Path, bundle_path: Path) -> None:
    with pytest.raises(RegistryError, match="no such folder"):
        check_registry(tmp_path / "none")
    version = Registry(tmp_path).publish(bundle_path, activate=False)
    with pytest.raises(RegistryError, match="no CURRENT"):
        check_registry(tmp_path)
    Registry(tmp_path).activate(version)
    (Registry(tmp_path).bundle_path(version) / "popular.npy").write_bytes(b"")
    with pytest.raises(BundleError, match=r"popular\.npy"):
        check_registry(tmp_path)


def test_only_a_service_that_may_wait_starts_without_a_bundle(tmp_path: Path) -> None:
    registry = tmp_path / "none"

    assert check_apart(Settings(registry=registry, wait_for_bundle=True)) is None
    with pytest.raises(RegistryError):
        check_apart(Settings(registry=registry))


@pytest.mark.parametrize(("failed", "status"), [(False, 0), (True, 1)])
def test_the_exit_status_tells_whether_it_ever_served(
    registry_path: Path, monkeypatch: pytest.MonkeyPatch, failed: bool, status: int
) -> None:
    made: list[Supervisor] = []

    def run(supervisor: Supervisor) -> None:
        supervisor.failed = failed
        made.append(supervisor)

    settings = Settings(registry=registry_path, port=0)
    for name in worker_environment(settings, Path("metrics")):
        monkeypatch.setenv(name, "")  # so that it is restored after the test
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    monkeypatch.setattr(Supervisor, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(Supervisor, "run", run)

    assert serve(settings) == status
    assert len(made) == 1


def test_the_command_fails_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPAL_REGISTRY", raising=False)

    assert main([]) == 1
    assert capsys.readouterr().err == "error: OPAL_REGISTRY: Field required\n"


def test_a_worker_stops_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Parent:
        def join(self) -> None: ...

    told: list[int] = []
    monkeypatch.setattr("service.server.parent_process", Parent)
    monkeypatch.setattr("os.kill", lambda _, number: told.append(number))
    monkeypatch.setattr("uvicorn.supervisors.multiprocess.Process.target", lambda *_: None)
    Worker.__new__(Worker).target(None)
    wait_until(lambda: told, what="the worker to be told")

    assert told == [signal.SIGTERM]
