import shutil
import threading
from pathlib import Path

import pytest

from index.bundles.bundle import open_bundle
from index.registry.live_history import LiveHistory
from index.registry.registry import Registry
from model.errors import BundleError, RegistryError
from tests.bundles import build_small_bundle

SIZES = (20, 21, 22)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three different bundles."""
    folder = tmp_path_factory.mktemp("bundles")
    return [build_small_bundle(folder, name=f"b{size}", n_items=size, dim=8) for size in SIZES]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def flip_last_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_new_registry_is_empty(registry: Registry) -> None:
    assert registry.versions() == []
    assert registry.entries() == []
    assert registry.current() is None
    assert not registry.path.exists()


def test_publishing_copies_and_makes_current(registry: Registry, bundles: list[Path]) -> None:
    version = registry.publish(bundles[0])

    assert registry.versions() == [version]
    assert registry.current() == version
    assert open_bundle(registry.bundle_path(version)).version == version
    assert repr(registry) == f"<Registry {registry.path}, current {version}>"
    names = sorted(path.name for path in registry.path.iterdir())
    assert names == [".lock", "CURRENT", "bundles"]


def test_publishing_without_activating_leaves_current(
    registry: Registry, bundles: list[Path]
) -> None:
    first = registry.publish(bundles[0])
    second = registry.publish(bundles[1], activate=False)

    assert registry.current() == first
    assert registry.versions() == sorted([first, second])


def test_publishing_twice_changes_nothing(registry: Registry, bundles: list[Path]) -> None:
    version = registry.publish(bundles[0])
    files = {path: path.stat().st_mtime_ns for path in registry.path.rglob("*") if path.is_file()}
    del files[registry.path / ".lock"]

    assert registry.publish(bundles[0]) == version

    assert {path: path.stat().st_mtime_ns for path in files} == files
    with pytest.raises(RegistryError, match="nothing to go back to"):
        registry.rollback()


def test_publishing_again_activates_what_was_only_copied(
    registry: Registry, bundles: list[Path]
) -> None:
    version = registry.publish(bundles[0], activate=False)
    assert registry.current() is None

    registry.publish(bundles[0])

    assert registry.current() == version


def test_a_damaged_bundle_is_not_published(
    registry: Registry, bundles: list[Path], tmp_path: Path
) -> None:
    live = registry.publish(bundles[0])
    damaged = shutil.copytree(bundles[1], tmp_path / "damaged")
    flip_last_bit(damaged / "popular.npy")

    with pytest.raises(BundleError, match=r"popular\.npy: damaged"):
        registry.publish(damaged)

    assert (registry.current(), registry.versions()) == (live, [live])


def test_a_damaged_copy_in_the_registry_never_goes_live(
    registry: Registry, bundles: list[Path]
) -> None:
    first = registry.publish(bundles[0])
    second = registry.publish(bundles[1], activate=False)
    flip_last_bit(registry.bundle_path(second) / "index.faiss")

    with pytest.raises(BundleError, match=r"index\.faiss"):
        registry.activate(second)
    assert registry.current() == first


@pytest.mark.parametrize("name", ["index.faiss", "manifest.json"])
def test_publishing_again_mends_a_damaged_copy(
    registry: Registry, bundles: list[Path], name: str
) -> None:
    version = registry.publish(bundles[0])
    path = registry.bundle_path(version)
    flip_last_bit(path / name)

    assert registry.publish(bundles[0]) == version

    assert open_bundle(path).version == registry.current() == version
    assert [each.name for each in path.parent.iterdir()] == [version]


def test_a_folder_that_is_not_named_after_its_version_is_refused(
    registry: Registry, bundles: list[Path]
) -> None:
    version = registry.publish(bundles[0])
    other = "20260101T000000Z-01234567"
    path = shutil.copytree(registry.bundle_path(version), registry.path / "bundles" / other)

    for action in (lambda: registry.activate(other), lambda: open_bundle(path)):
        with pytest.raises(BundleError, match=f"is of version {version}, but its folder is named"):
            action()
    assert "its folder is named" in str(registry.entries()[0].problem)
    assert registry.current() == version


def test_rolling_back_goes_further_back_each_time(registry: Registry, bundles: list[Path]) -> None:
    first, second, third = [registry.publish(path) for path in bundles]

    assert registry.rollback() == second
    assert registry.rollback() == first
    assert registry.current() == first
    with pytest.raises(RegistryError, match="no version was live before"):
        registry.rollback()
    assert registry.current() == first
    assert len({first, second, third}) == 3


def test_rolling_back_goes_to_what_was_live_not_to_what_is_older(
    registry: Registry, bundles: list[Path]
) -> None:
    first, second, third = [registry.publish(path) for path in bundles]
    registry.activate(first)
    registry.activate(first)

    assert registry.rollback() == third
    assert registry.rollback() == second


def test_rolling_back_skips_versions_that_were_removed(
    registry: Registry, bundles: list[Path]
) -> None:
    first, second, _ = [registry.publish(path) for path in bundles]
    shutil.rmtree(registry.bundle_path(second))

    assert registry.rollback() == first


def test_rolling_back_to_a_damaged_bundle_is_refused(
    registry: Registry, bundles: list[Path]
) -> None:
    first, second = [registry.publish(path) for path in bundles[:2]]
    flip_last_bit(registry.bundle_path(first) / "index.faiss")

    with pytest.raises(BundleError, match=r"index\.faiss"):
        registry.rollback()

    assert registry.current() == second


def test_a_kill_between_history_and_current_is_harmless(
    registry: Registry, bundles: list[Path]
) -> None:
    first, second = [registry.publish(path) for path in bundles[:2]]
    # As if killed after writing history, before CURRENT (activate), or the other way (rollback).
    LiveHistory(registry.path).push(second)

    assert registry.rollback() == first


@pytest.mark.parametrize(
    "version", ["../..", "/etc", "", ".", "nope", "20260101T000000Z-00000000/.."]
)
def test_names_that_are_no_versions_lead_nowhere(version: str, registry: Registry) -> None:
    for call in (registry.activate, registry.bundle_path):
        with pytest.raises(RegistryError, match="is not a version's name"):
            call(version)


def test_a_version_that_is_not_there_is_named(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="has no bundle 20260101T000000Z-00000000"):
        registry.activate("20260101T000000Z-00000000")


@pytest.mark.parametrize("content", [b"", b"../../etc\n", b"\xff\xfe", b"a b c"])
def test_a_damaged_current_is_an_error_that_activating_mends(
    content: bytes, registry: Registry, bundles: list[Path]
) -> None:
    version = registry.publish(bundles[0])
    (registry.path / "CURRENT").write_bytes(content)

    with pytest.raises(RegistryError, match="CURRENT: not a version's name"):
        registry.current()
    assert [entry.live for entry in registry.entries()] == [False]
    assert "not a version's name" not in repr(registry.entries())

    registry.activate(version)
    assert registry.current() == version


def test_a_damaged_history_is_an_error_that_says_what_to_do(
    registry: Registry, bundles: list[Path]
) -> None:
    registry.publish(bundles[0])
    for content in ("{", '{"a": 1}', '[{"a": 1}]', "[3]"):
        (registry.path / "history.json").write_text(content)

        with pytest.raises(RegistryError, match=r"history\.json: damaged .*; remove it"):
            registry.rollback()


def test_entries_describe_and_name_what_is_damaged(registry: Registry, bundles: list[Path]) -> None:
    first, second = [registry.publish(path) for path in bundles[:2]]
    (registry.bundle_path(first) / "manifest.json").write_text("{")

    entries = {entry.version: entry for entry in registry.entries()}

    assert entries[second].live
    assert (entries[second].model, entries[second].stage, entries[second].items) == (
        "opal",
        "soft",
        21,
    )
    assert entries[second].test_metrics["recall@50"] == 0.3
    assert not entries[first].live
    assert "not JSON" in (entries[first].problem or "")


def test_debris_of_killed_writers_is_swept_by_the_next_publish(
    registry: Registry, bundles: list[Path]
) -> None:
    registry.publish(bundles[0])
    folder = registry.path / "bundles" / ".staging-20260101T000000Z-00000000-1-0123abcd"
    folder.mkdir()
    (folder / "index.faiss").touch()
    (registry.path / ".staging-CURRENT-0123abcd").touch()

    assert len(registry.versions()) == 1
    registry.publish(bundles[1])

    assert not list(registry.path.rglob(".staging-*"))


def test_publishers_wait_for_each_other(registry: Registry, bundles: list[Path]) -> None:
    threads = [
        threading.Thread(target=registry.publish, args=(path,))
        for path in bundles
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(registry.versions()) == 3
    assert registry.current() in registry.versions()
    for version in registry.versions():
        open_bundle(registry.bundle_path(version))


def test_a_source_that_changes_while_copied_is_not_published(
    registry: Registry, bundles: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shutil.copytree(bundles[0], tmp_path / "source")
    checked = open_bundle(source)

    def open_then_change(path: Path) -> object:
        flip_last_bit(source / "popular.npy")
        return checked

    monkeypatch.setattr("index.registry.registry.open_bundle", open_then_change)

    with pytest.raises(BundleError, match=r"changed while it was copied .*popular\.npy"):
        registry.publish(source)
    assert registry.versions() == []
    assert registry.current() is None
