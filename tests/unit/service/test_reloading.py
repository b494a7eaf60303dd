import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from index.registry.registry import Registry
from service.api.problems import BundleRefused, NotFound, NotReady
from service.live.live import LiveBundle
from service.monitoring.metrics import Metrics
from service.reloading import BundleFollower
from tests.services import InProcess, service_in_process

pytestmark = pytest.mark.anyio


@pytest.fixture
def follower(registry_path: Path) -> BundleFollower:
    return BundleFollower(Registry(registry_path), LiveBundle(), Metrics(), interval=0.01)


@pytest.fixture
def damaged_version(registry_path: Path, other_bundle_path: Path) -> str:
    """A version that CURRENT names, with one byte changed."""
    version = Registry(registry_path).publish(other_bundle_path)
    _damage(registry_path, version)
    return version


def _damage(registry_path: Path, version: str) -> None:
    path = Registry(registry_path).bundle_path(version) / "index.faiss"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _live(follower: BundleFollower) -> str | None:
    return follower.describe()["live"]


async def test_without_a_bundle_nothing_is_served() -> None:
    with pytest.raises(NotReady):
        LiveBundle().get()


async def test_it_goes_to_current_once(follower: BundleFollower) -> None:
    first = await follower.look()
    again = await follower.look()

    assert first is not None
    assert first["previous"] is None
    assert again == {"bundle_version": _live(follower), "previous": _live(follower)}


async def test_it_rests_while_it_opens_a_bundle_only_if_requests_may_wait(
    follower: BundleFollower,
    registry_path: Path,
    other_bundle_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rests: list[float] = []
    monkeypatch.setattr("service.reloading.time.sleep", rests.append)

    await follower.look()
    assert not rests

    Registry(registry_path).publish(other_bundle_path)
    await follower.look()
    assert len(rests) > 10


async def test_a_damaged_bundle_is_refused_once_and_the_old_one_goes_on(
    follower: BundleFollower, registry_path: Path, bundle_path: Path, other_bundle_path: Path
) -> None:
    await follower.look()
    good = _live(follower)
    bad = Registry(registry_path).publish(other_bundle_path)
    _damage(registry_path, bad)

    with pytest.raises(BundleRefused, match="SHA-256"):
        await follower.look()
    assert await follower.look() is None  # not again and again
    with pytest.raises(BundleRefused):
        await follower.look(again=True)

    description = follower.describe()
    states = {state["version"]: state for state in description["bundles"]}
    assert (description["live"], description["current"]) == (good, bad)
    assert "index.faiss" in str(states[bad]["refused"])
    assert states[bad]["current"]
    assert not states[bad]["live"]
    assert good is not None
    assert states[good]["live"]
    assert states[good]["items"] == 300


async def test_a_refused_bundle_that_was_mended_goes_live(
    follower: BundleFollower, registry_path: Path, damaged_version: str
) -> None:
    with pytest.raises(BundleRefused):
        await follower.look()
    _damage(registry_path, damaged_version)  # the same bit back

    assert (await follower.go_to(damaged_version))["bundle_version"] == damaged_version
    assert follower.refused == {}


async def test_a_named_version_that_must_not_go_live_leaves_current_alone(
    follower: BundleFollower, registry_path: Path, other_bundle_path: Path
) -> None:
    await follower.look()
    good = _live(follower)
    bad = Registry(registry_path).publish(other_bundle_path, activate=False)
    _damage(registry_path, bad)

    with pytest.raises(BundleRefused):
        await follower.go_to(bad)
    with pytest.raises(NotFound):
        await follower.go_to("20260101T000000Z-00000000")

    assert Registry(registry_path).current() == _live(follower) == good


async def test_a_rollback_to_a_damaged_bundle_changes_nothing(
    follower: BundleFollower, registry_path: Path, other_bundle_path: Path
) -> None:
    first = Registry(registry_path).current()
    assert first is not None
    second = Registry(registry_path).publish(other_bundle_path)
    await follower.look()
    _damage(registry_path, first)

    with pytest.raises(BundleRefused):
        await follower.roll_back()

    assert Registry(registry_path).current() == _live(follower) == second


async def test_a_rollback_that_only_opening_refuses_is_taken_back(
    follower: BundleFollower,
    registry_path: Path,
    other_bundle_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = Registry(registry_path).publish(other_bundle_path)
    await follower.look()

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr("service.reloading.open_bundle", refuse)
    with pytest.raises(BundleRefused, match="RuntimeError: no memory"):
        await follower.roll_back()

    assert Registry(registry_path).current() == _live(follower) == second


async def test_a_damaged_manifest_is_told_in_the_list(
    follower: BundleFollower, registry_path: Path
) -> None:
    version = Registry(registry_path).versions()[0]
    (Registry(registry_path).bundle_path(version) / "manifest.json").write_text("{")

    assert "manifest.json" in str(follower.describe()["bundles"][0]["refused"])


async def test_it_follows_current_and_survives_an_unreadable_one(
    service_following: InProcess, registry_path: Path, other_bundle_path: Path
) -> None:
    current = registry_path / "CURRENT"
    kept = current.read_text()
    current.write_text("../../etc/passwd")
    await _pause()
    assert service_following.state["live"].version == kept.strip()
    assert service_following.state["follower"].describe()["current"] is None

    current.write_text(kept)
    second = Registry(registry_path).publish(other_bundle_path)
    await _until_live(service_following, second)


async def test_it_goes_on_following_after_a_refusal(
    service_following: InProcess, registry_path: Path, other_bundle_path: Path
) -> None:
    first = service_following.state["live"].version
    assert first is not None
    bad = Registry(registry_path).publish(other_bundle_path, activate=False)
    _damage(registry_path, bad)
    (registry_path / "CURRENT").write_text(bad)
    await _pause()
    assert service_following.state["live"].version == first

    _damage(registry_path, bad)
    Registry(registry_path).activate(first)
    await _pause()
    Registry(registry_path).activate(bad)
    await _until_live(service_following, bad)


async def test_a_worker_without_a_usable_bundle_does_not_start(
    registry_path: Path, damaged_version: str
) -> None:
    with pytest.raises(BundleRefused):
        async with service_in_process(registry_path):
            pass


@pytest.fixture
async def service_following(registry_path: Path, anyio_backend: str) -> AsyncIterator[InProcess]:
    async with service_in_process(registry_path, reload_interval=0.01) as running:
        yield running


async def _pause() -> None:
    await asyncio.sleep(0.15)


async def _until_live(service: InProcess, version: str) -> None:
    async with asyncio.timeout(5):
        while service.state["live"].version != version:
            await asyncio.sleep(0.01)


async def test_workers_do_not_all_look_at_the_same_moments(
    follower: BundleFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 20:
            raise asyncio.CancelledError

    monkeypatch.setattr("service.reloading.asyncio.sleep", nap)

    with pytest.raises(asyncio.CancelledError):
        await follower.follow()

    assert len(set(naps)) > 10
    assert 0.0075 <= min(naps) <= max(naps) <= 0.0125
