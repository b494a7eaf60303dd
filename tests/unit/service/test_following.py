"""A worker never stops following, and several come to the same bundle."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from index.registry.registry import Registry
from service.api.problems import BundleRefused
from service.live.live import LiveBundle
from service.monitoring.metrics import Metrics
from service.reloading import BundleFollower
from tests.services import InProcess, service_in_process

pytestmark = pytest.mark.anyio
ABSENT = "20260101T000000Z-00000000"


@pytest.fixture
def followers(registry_path: Path) -> list[BundleFollower]:
    """Two workers."""
    return [
        BundleFollower(Registry(registry_path), LiveBundle(), Metrics(), interval=0.01)
        for _ in range(2)
    ]


@pytest.fixture
async def following(registry_path: Path, anyio_backend: str) -> AsyncIterator[InProcess]:
    async with service_in_process(registry_path, reload_interval=0.01) as running:
        yield running


async def until_live(service: InProcess, version: str) -> None:
    async with asyncio.timeout(5):
        while service.state["live"].version != version:
            await asyncio.sleep(0.01)


def flip_a_bit(registry_path: Path, version: str) -> None:
    path = Registry(registry_path).bundle_path(version) / "index.faiss"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


async def test_a_current_that_arrives_before_its_bundle_is_waited_for(
    following: InProcess, registry_path: Path, other_bundle_path: Path, tmp_path: Path
) -> None:
    version = Registry(tmp_path / "elsewhere").publish(other_bundle_path)
    (registry_path / "CURRENT").write_text(version)
    await asyncio.sleep(0.15)
    follower = following.state["follower"]
    assert "no bundle" in follower.refused[version]
    assert b'outcome="refused"} 1.0' in following.state["metrics"].render()
    assert following.state["live"].version not in {None, version}

    staged = registry_path / "bundles" / ".arriving"
    shutil.copytree(tmp_path / "elsewhere" / "bundles" / version, staged)
    staged.rename(registry_path / "bundles" / version)
    await until_live(following, version)
    assert follower.refused == {}


async def test_a_current_without_its_bundle_does_not_end_following(
    following: InProcess, registry_path: Path, other_bundle_path: Path
) -> None:
    (registry_path / "CURRENT").write_text(ABSENT)
    await asyncio.sleep(0.1)

    await until_live(following, Registry(registry_path).publish(other_bundle_path))


async def test_a_worker_may_wait_for_the_bundle_that_current_names(
    tmp_path: Path, bundle_path: Path
) -> None:
    registry = tmp_path / "registry"
    registry.mkdir()
    (registry / "CURRENT").write_text(ABSENT)
    settings = {"wait_for_bundle": True, "reload_interval": 0.01}
    async with service_in_process(registry, **settings) as service:
        assert service.state["live"].version is None
        await until_live(service, Registry(registry).publish(bundle_path))


async def test_a_worker_may_wait_while_current_is_no_file(
    tmp_path: Path, bundle_path: Path
) -> None:
    current = tmp_path / "registry" / "CURRENT"
    current.mkdir(parents=True)
    settings = {"wait_for_bundle": True, "reload_interval": 0.01}
    async with service_in_process(current.parent, **settings) as service:
        current.rmdir()
        await until_live(service, Registry(current.parent).publish(bundle_path))


async def test_a_defect_does_not_end_following(
    following: InProcess,
    registry_path: Path,
    other_bundle_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("index.registry.registry.Registry.current", lambda _: 1 / 0)
        await asyncio.sleep(0.1)
    assert "ZeroDivisionError" in caplog.text

    await until_live(following, Registry(registry_path).publish(other_bundle_path))


async def test_a_mended_bundle_goes_live_in_every_worker_without_being_asked(
    followers: list[BundleFollower], registry_path: Path
) -> None:
    version = Registry(registry_path).versions()[0]
    flip_a_bit(registry_path, version)
    for follower in followers:
        with pytest.raises(BundleRefused):
            await follower.look()
        assert await follower.look() is None

    flip_a_bit(registry_path, version)
    for follower in followers:
        answer = await follower.look()
        assert answer is not None
        assert answer["bundle_version"] == version


@pytest.mark.parametrize("named", [True, False])
async def test_a_reload_asked_of_one_worker_makes_the_others_try_again(
    followers: list[BundleFollower],
    registry_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: bool,
) -> None:
    version = Registry(registry_path).versions()[0]
    with monkeypatch.context() as patch:
        # What no file shows.
        patch.setattr("service.reloading.open_bundle", lambda *_, **__: 1 / 0)
        for follower in followers:
            with pytest.raises(BundleRefused):
                await follower.look()
    asked, other = followers
    assert await other.look() is None
    if named:
        await asked.go_to(version)
    else:
        await asked.look(again=True)

    answer = await other.look()
    assert answer is not None
    assert answer["bundle_version"] == version


async def test_the_same_refusal_is_logged_once(
    registry_path: Path, followers: list[BundleFollower], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    flip_a_bit(registry_path, Registry(registry_path).versions()[0])
    for _ in range(3):
        with pytest.raises(BundleRefused):
            await followers[0].look(again=True)

    assert caplog.text.count("refused:") == 1
