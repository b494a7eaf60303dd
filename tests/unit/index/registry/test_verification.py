import shutil
from pathlib import Path

import pytest

from index.registry.registry import Registry
from index.registry.verification import verify_bundle, verify_registry
from model.errors import BundleError, RegistryError


@pytest.fixture
def registry(bundle_path: Path, tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "registry")
    registry.publish(bundle_path)
    return registry


def live_path(registry: Registry) -> Path:
    return registry.bundle_path(str(registry.current()))


def test_a_sound_bundle_has_no_problems(bundle_path: Path) -> None:
    found = verify_bundle(bundle_path)

    assert found.problems == []
    assert found.to_json()["catalog"] == {"items": 300, "dim": 16, "cold": 0}


def test_every_damaged_file_is_named_with_a_remedy(registry: Registry) -> None:
    path = live_path(registry)
    (path / "popular.npy").unlink()
    (path / "index.faiss").write_bytes(b"short")
    content = bytearray((path / "items.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "items.safetensors").write_bytes(content)

    problems = verify_bundle(path).problems

    assert len(problems) == 3
    for name, problem in zip(
        ("index.faiss", "items.safetensors", "popular.npy"), problems, strict=True
    ):
        assert problem.startswith(f"{path / name}: ")
        assert "; build or copy the bundle again" in problem


def test_a_manifest_that_cannot_be_read_is_the_problem(registry: Registry) -> None:
    (live_path(registry) / "manifest.json").write_text("{")

    found = verify_bundle(live_path(registry))

    assert len(found.problems) == 1
    assert "manifest.json: not JSON" in found.problems[0]
    assert found.to_json()["version"] is None


def test_what_only_opening_shows_is_found_and_placed(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BundleError("probe.safetensors: recall; build it again")

    monkeypatch.setattr("index.bundles.bundle.check_probes", refuse)

    assert verify_bundle(bundle_path).problems == [
        f"{bundle_path}: probe.safetensors: recall; build it again"
    ]


def test_a_file_that_cannot_be_read_is_a_problem(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("index.bundles.bundle.file_entry", refuse)

    assert "Permission denied; see that it can be read" in verify_bundle(bundle_path).problems[0]


def test_where_there_is_no_folder_there_is_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        verify_bundle(tmp_path / "nowhere")


def test_a_registry_is_verified_with_what_holds_it_together(registry: Registry) -> None:
    assert verify_registry(registry).all_problems == []

    shutil.copytree(live_path(registry), registry.path / "bundles" / "20200101T000000Z-00000000")
    (registry.path / "CURRENT").write_text("20200101T000000Z-99999999")
    (registry.path / "history.json").write_text("{")
    found = verify_registry(registry)

    assert len(found.problems) == 2
    assert "has no bundle 20200101T000000Z-99999999" in found.problems[0]
    assert "history.json: damaged" in found.problems[1]
    assert ["its folder is named" in "".join(each.problems) for each in found.bundles] == [
        True,
        False,
    ]
    assert len(found.all_problems) == 3


def test_one_version_is_verified_whatever_the_others_are(registry: Registry) -> None:
    version = str(registry.current())
    (registry.path / "bundles" / "20200101T000000Z-00000000").mkdir()

    assert verify_registry(registry, version).all_problems == []
    with pytest.raises(RegistryError, match="has no bundle"):
        verify_registry(registry, "20200101T000000Z-00000001")


def test_an_empty_registry_has_no_problems(tmp_path: Path) -> None:
    assert verify_registry(Registry(tmp_path)).all_problems == []
    with pytest.raises(RegistryError, match="no registry here"):
        verify_registry(Registry(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["CURRENT", "history.json"])
def test_what_cannot_be_read_does_not_keep_the_bundles_from_being_verified(
    name: str, registry: Registry
) -> None:
    (registry.path / name).unlink(missing_ok=True)
    (registry.path / name).mkdir()

    found = verify_registry(registry)

    assert len(found.bundles) == 1
    assert found.bundles[0].problems == []
    assert any(name in problem for problem in found.problems)
