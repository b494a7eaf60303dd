"""``python -m service`` as a person meets it: exit status, messages, nothing half-started."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from index.registry.registry import Registry
from tests.services import service_environment, wait_until


def run_service(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        env=service_environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 1, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


def test_a_taken_port_is_told(registry_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        assert_refused(
            run_service("--registry", str(registry_path), "--port", port), port, "--port"
        )


def test_an_address_that_is_not_ours_is_told(registry_path: Path) -> None:
    arguments = ("--registry", str(registry_path), "--port", "0", "--host")
    assert_refused(run_service(*arguments, "203.0.113.1"), "203.0.113.1")


def test_a_missing_registry_is_told(tmp_path: Path) -> None:
    result = run_service("--registry", str(tmp_path / "none"), "--port", "0")

    assert_refused(result, "none", "publish", "--wait-for-bundle")


def test_a_registry_without_current_is_told(tmp_path: Path, bundle_paths: list[Path]) -> None:
    Registry(tmp_path).publish(bundle_paths[0], activate=False)

    assert_refused(run_service("--registry", str(tmp_path), "--port", "0"), "CURRENT", "activate")


def test_a_registry_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "CURRENT").mkdir()

    assert_refused(run_service("--registry", str(tmp_path), "--port", "0"), "CURRENT")


def test_a_damaged_bundle_is_told(registry_path: Path) -> None:
    version = Registry(registry_path).current()
    assert version is not None
    (Registry(registry_path).bundle_path(version) / "index.faiss").write_bytes(b"broken")

    assert_refused(run_service("--registry", str(registry_path), "--port", "0"), "index.faiss")


def test_a_wrong_setting_is_told(registry_path: Path) -> None:
    result = run_service("--registry", str(registry_path), cache_ttl="soon")

    assert_refused(result, "OPAL_CACHE_TTL", "'soon'")


@pytest.mark.parametrize("arguments", [[], ["--workers", "many"], ["--nope"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert run_service(*arguments).returncode == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_it_starts_it_leaves_nothing(
    registry_path: Path, tmp_path: Path, number: signal.Signals
) -> None:
    environment = service_environment() | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "--registry", str(registry_path), "--port", "0"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: list(tmp_path.glob("opal-metrics-*")), what="it to begin")
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)

    assert process.returncode in (0, 1)
    assert "Traceback" not in errors
    assert list(tmp_path.glob("opal-metrics-*")) == []


def test_help_names_every_option() -> None:
    result = run_service("--help")

    assert result.returncode == 0
    for option in ("--registry", "--host", "--port", "--workers", "--wait-for-bundle", "--json"):
        assert option in result.stdout
