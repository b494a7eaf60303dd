"""Old versions go, the others stay, and whoever serves one of them notices nothing."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from index.bundles.bundle import open_bundle
from index.registry.live_history import LiveHistory
from index.registry.pruning import prunable
from index.registry.registry import Registry
from index.search.retrieval import retrieve
from model.errors import RegistryError
from tests.bundles import build_small_bundle

NOTHING = np.empty(0, dtype=np.int64)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Five versions, the newest live; their names sort as they were published."""
    folder = tmp_path_factory.mktemp("bundles")
    paths = [build_small_bundle(folder, name=f"b{size}", n_items=size) for size in range(20, 25)]
    registry = Registry(folder / "registry")
    for path in sorted(paths, key=lambda path: open_bundle(path).version):
        registry.publish(path)
    return registry


@pytest.fixture
def registry(published: Registry, tmp_path: Path) -> Registry:
    return Registry(shutil.copytree(published.path, tmp_path / "registry"))


def test_the_newest_stay_and_the_rest_goes(registry: Registry) -> None:
    versions = registry.versions()
    sizes = [
        sum(file.stat().st_size for file in registry.bundle_path(version).iterdir())
        for version in versions
    ]

    pruned = registry.prune(2)

    assert pruned == list(zip(versions[:3], sizes[:3], strict=True))
    assert registry.versions() == versions[3:]
    assert sorted(path.name for path in (registry.path / "bundles").iterdir()) == versions[3:]
    assert registry.prune(2) == []


def test_a_dry_run_only_tells(registry: Registry) -> None:
    before = sorted(registry.path.rglob("*"))

    would_go = registry.prune(2, dry_run=True)

    assert sorted(registry.path.rglob("*")) == before
    assert registry.prune(2) == would_go


def test_what_rollback_would_go_to_next_stays(registry: Registry) -> None:
    oldest, *_, newest = registry.versions()
    registry.activate(oldest)
    registry.activate(newest)

    registry.prune(1)

    assert registry.versions() == [oldest, newest]
    assert [registry.rollback() for _ in range(2)] == [oldest, newest]


def test_current_stays_however_old_it_is(registry: Registry) -> None:
    versions = registry.versions()
    registry.activate(versions[1])

    registry.prune(1)

    assert registry.versions() == [versions[1], versions[4]]
    assert registry.current() == versions[1]
    assert registry.rollback() == versions[4]


def test_history_forgets_what_was_removed(registry: Registry, tmp_path: Path) -> None:
    first = registry.versions()[0]
    kept = shutil.copytree(registry.bundle_path(first), tmp_path / "kept")
    registry.prune(1)

    assert first not in (registry.path / "history.json").read_text()
    assert registry.publish(kept, activate=False) == first
    assert first not in LiveHistory(registry.path).before(None, registry.versions())


def test_more_may_be_kept_than_there_are(registry: Registry) -> None:
    assert registry.prune(99) == []
    with pytest.raises(ValueError, match="keep is 0"):
        prunable(registry.versions(), 0, [])


def test_a_registry_in_which_nothing_is_live_is_pruned_too(registry: Registry) -> None:
    (registry.path / "CURRENT").unlink()
    (registry.path / "history.json").unlink()

    assert len(registry.prune(1)) == 4


@pytest.mark.parametrize("name", ["CURRENT", "history.json"])
def test_nothing_goes_while_it_is_not_known_what_is_live(registry: Registry, name: str) -> None:
    (registry.path / name).write_text("?")

    with pytest.raises(RegistryError, match=name):
        registry.prune(1)
    assert len(registry.versions()) == 5


def test_where_there_is_no_registry_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no registry here"):
        Registry(tmp_path / "nowhere").prune(1)
    assert not (tmp_path / "nowhere").exists()


def test_what_is_no_version_stays_and_a_link_is_not_followed(
    registry: Registry, tmp_path: Path
) -> None:
    outside = shutil.copytree(registry.bundle_path(registry.versions()[0]), tmp_path / "outside")
    files = sorted(outside.iterdir())
    (registry.path / "bundles" / "notes").mkdir()
    link = registry.path / "bundles" / "20200101T000000Z-00000000"
    link.symlink_to(outside)

    registry.prune(1)

    assert not link.is_symlink()
    assert sorted(outside.iterdir()) == files
    assert (registry.path / "bundles" / "notes").is_dir()


def test_whoever_serves_a_pruned_bundle_goes_on(registry: Registry) -> None:
    version = registry.versions()[0]
    path = registry.bundle_path(version)
    serving = open_bundle(path)
    interests = serving.encoder.encode(np.array([1, 2, 3])).vectors
    before = retrieve(serving.item_index, interests, 10, excluded=NOTHING)

    registry.prune(1)

    assert not path.exists()
    assert f"{version}/index.faiss (deleted)" in Path("/proc/self/maps").read_text()
    after = retrieve(serving.item_index, interests, 10, excluded=NOTHING)
    assert after.rows.tolist() == before.rows.tolist()
    assert serving.catalog.ids_of(after.rows) == serving.catalog.ids_of(before.rows)
    assert serving.encoder.encode(np.array([1, 2, 3])).vectors.tolist() == interests.tolist()
