"""The parent process, as far as it goes without starting workers; the rest is integration."""

import socket
from pathlib import Path

import pytest

from index.registry.registry import Registry
from model.errors import BundleError, InputError, RegistryError
from service.__main__ import main
from service.processes.server import (
    THREAD_VARIABLES,
    bind,
    check_apart,
    check_registry,
    serve,
    worker_environment,
)
from service.processes.supervisor import Supervisor
from service.redis_url import check_redis_url
from service.settings import Settings


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


def test_the_check_names_the_live_version(registry_path: Path) -> None:
    assert check_registry(registry_path) == Registry(registry_path).current()


def test_the_check_tells_what_is_missing(tmp_path: Path, bundle_path: Path) -> None:
    with pytest.raises(RegistryError, match="no such folder"):
        check_registry(tmp_path / "none")
    version = Registry(tmp_path).publish(bundle_path, activate=False)
    with pytest.raises(RegistryError, match=r"no CURRENT; .*activate.*, or start with"):
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
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    monkeypatch.setattr(Supervisor, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(Supervisor, "run", run)

    assert serve(settings) == status
    assert len(made) == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RegistryError("no CURRENT"), "no CURRENT"),
        (OSError(28, "No space left on device", "/tmp/x"), "No space left on device: /tmp/x"),
        (OSError("odd"), "odd: registry"),
        (KeyboardInterrupt(), "interrupted before all workers served"),
    ],
)
def test_what_goes_wrong_is_told_on_one_line(
    error: BaseException,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setattr("service.processes.server.serve", fail)

    assert main(["--registry", "registry"]) == 1
    assert capsys.readouterr().err == f"error: {line}\n"


def test_without_a_registry_it_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPAL_REGISTRY", raising=False)

    with pytest.raises(SystemExit) as ended:
        main([])

    assert ended.value.code == 2
    assert "--registry" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:notaport",
        "redis://[::1",
        "redis://localhost?socket_timeout=abc",
        "redis://:secret@localhost?nope=1",
        "redis://localhost:99999",
    ],
)
def test_an_address_of_redis_that_cannot_be_read_is_told_on_one_line(
    registry_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str,
) -> None:
    monkeypatch.setenv("OPAL_REDIS_URL", url)

    assert main(["--registry", str(registry_path), "--port", "0"]) == 1
    told = capsys.readouterr().err
    assert "OPAL_REDIS_URL" in told
    assert told.count("\n") == 1
    assert "secret" not in told


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "redis://:secret@[::1]:6379?socket_timeout=0.5",
        "rediss://user:secret@host/1",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_addresses_of_redis_in_every_form_are_accepted(url: str) -> None:
    check_redis_url(url)


def test_the_check_may_wait_while_the_registry_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "CURRENT").mkdir()

    assert check_apart(Settings(registry=tmp_path, wait_for_bundle=True)) is None
    with pytest.raises(OSError, match="directory"):
        check_apart(Settings(registry=tmp_path))
