"""What a running service makes of signatures, and of bundles that are removed under it."""

import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from index.bundles.bundle import sign_bundle
from index.bundles.manifest import read_manifest
from index.bundles.signing import KEY_VARIABLE
from index.registry.registry import Registry
from tests.service_load import BODY
from tests.services import ServiceProcess, service_environment, wait_until

KEY, OLD_KEY = "new-key-0123456789abcdef01234567", "old-key-0123456789abcdef01234567"
REFUSED = 'opal_reloads_total{outcome="refused"}'


@pytest.fixture
def signed_registry(
    tmp_path: Path, bundle_paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> Registry:
    """One whose live bundle is signed with the old key; the tests' own process has no key."""
    registry = Registry(tmp_path / "registry")
    bundle = shutil.copytree(bundle_paths[0], tmp_path / "bundle")
    with monkeypatch.context() as patch:
        patch.setenv(KEY_VARIABLE, OLD_KEY)
        sign_bundle(bundle)
        registry.publish(bundle)
    return registry


def workers_on(service: ServiceProcess, version: str) -> float:
    return service.metric(f'opal_bundle_info{{index_kind="flat",model="opal",version="{version}"}}')


def test_an_unsigned_bundle_published_under_a_running_service_is_refused_by_every_worker(
    signed_registry: Registry,
    bundle_paths: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = signed_registry.current()
    log = tmp_path / "service.log"
    settings = {"signing_key": f"{KEY},{OLD_KEY}", "reload_interval": 0.1}
    with ServiceProcess(signed_registry.path, log, workers=2, **settings) as service:
        assert service.announcement["bundle_version"] == first

        second = signed_registry.publish(bundle_paths[1])
        wait_until(lambda: service.metric(REFUSED) >= 2, what="both workers to refuse it")
        answer = httpx.post(f"{service.url}/match", json=BODY).json()
        listed = httpx.get(f"{service.url}/admin/bundles").json()
        asked = httpx.post(f"{service.url}/admin/reload", json={"version": second})

        assert answer["bundle_version"] == listed["live"] == first
        reasons = {each["version"]: each["refused"] for each in listed["bundles"]}
        assert reasons[str(first)] is None
        assert "manifest.sig: is missing, the bundle is not signed" in reasons[second]
        assert asked.status_code == 409
        assert "manifest.sig" in asked.json()["detail"]

        with monkeypatch.context() as patch:
            patch.setenv(KEY_VARIABLE, KEY)
            sign_bundle(signed_registry.bundle_path(second))
        wait_until(lambda: workers_on(service, second) == 2, what="both workers to take it")
    assert KEY not in service.log()
    assert OLD_KEY not in service.log()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (KEY, "manifest.sig: not a signature of this manifest"),
        ("too-short", "OPAL_SIGNING_KEY: key 1 of 1 is shorter than 32 characters"),
        ("", "OPAL_SIGNING_KEY: key 1 of 1 is shorter than 32 characters"),
    ],
)
def test_a_service_whose_key_does_not_fit_does_not_start(
    signed_registry: Registry, key: str, words: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service", "--registry", str(signed_registry.path), "--port", "0"],
        env=service_environment(signing_key=key),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert "too-short" not in done.stderr


def test_a_service_without_a_key_serves_signed_and_unsigned(
    signed_registry: Registry, bundle_paths: list[Path], tmp_path: Path
) -> None:
    log = tmp_path / "service.log"
    with ServiceProcess(signed_registry.path, log, workers=1, reload_interval=0.1) as service:
        second = signed_registry.publish(bundle_paths[1])
        wait_until(lambda: workers_on(service, second) == 1, what="the unsigned one")


def test_a_service_goes_on_when_the_bundle_that_it_serves_is_pruned(
    bundle_paths: list[Path], tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "registry")
    older, newer = sorted(bundle_paths, key=lambda path: read_manifest(path).version)
    first = registry.publish(older)
    log = tmp_path / "service.log"
    with ServiceProcess(registry.path, log, workers=2, reload_interval=600) as service:
        second = registry.publish(newer)
        (registry.path / "history.json").unlink()  # else a rollback could go to the first

        assert [each.version for each in registry.prune(1)] == [first]
        for user in range(20):
            body = {**BODY, "user_id": str(user), "top_k": 30 + user}
            answer = httpx.post(f"{service.url}/match", json=body)
            assert answer.status_code == 200
            assert answer.json()["bundle_version"] == first

        httpx.post(f"{service.url}/admin/reload", json={}).raise_for_status()
        wait_until(lambda: workers_on(service, second) >= 1, what="a worker to go on to CURRENT")
