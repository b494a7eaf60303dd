import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from index.bundles.manifest import MANIFEST_FILE, _version_name, is_version_name, read_manifest
from model.errors import BundleError


@pytest.fixture
def folder(bundle_path: Path, tmp_path: Path) -> Path:
    """A manifest that a test may change."""
    shutil.copy(bundle_path / MANIFEST_FILE, tmp_path)
    return tmp_path


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / MANIFEST_FILE
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document, indent=2) + "\n")


def test_a_manifest_says_what_the_bundle_is(folder: Path) -> None:
    manifest = read_manifest(folder)

    assert manifest.format_version == 1
    assert is_version_name(manifest.version)
    assert manifest.version.startswith(manifest.created[:10].replace("-", "") + "T")
    assert (manifest.model.name, manifest.model.stage) == ("opal", "hard")
    assert (manifest.catalog.items, manifest.catalog.dim) == (300, 16)
    assert (manifest.index.kind, manifest.index.metric) == ("flat", "inner_product")
    assert manifest.index.measured_recall == 1.0
    assert manifest.metrics.test["hitrate@50"] == 0.8
    assert manifest.files["encoder.safetensors"].bytes > 0


@pytest.mark.parametrize(
    "name",
    ["", "..", "../../etc", "20261123T224501Z-1a2b3c4d/..", "20261123T224501Z-1A2B3C4D",
     "20261123T224501Z-1a2b3c4d\n", "/20261123T224501Z-1a2b3c4d",
     "2026\u0661\u066123T224501Z-1a2b3c4d"],
)  # fmt: skip
def test_only_plain_names_are_versions(name: str) -> None:
    assert not is_version_name(name)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"version": 1}'])
def test_broken_json_is_refused(text: str, folder: Path) -> None:
    (folder / MANIFEST_FILE).write_text(text)

    with pytest.raises(BundleError, match=r"manifest\.json: (not JSON|has no format_version)"):
        read_manifest(folder)


def test_bytes_that_are_no_text_are_refused(folder: Path) -> None:
    (folder / MANIFEST_FILE).write_bytes(b"\xff\xfe\x00")

    with pytest.raises(BundleError, match=r"manifest\.json: not JSON"):
        read_manifest(folder)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_says_which_are_readable(version: object, folder: Path) -> None:
    change(folder, lambda document: document.update(format_version=version))

    with pytest.raises(BundleError, match=f"format_version is {version!r}, this program reads 1;"):
        read_manifest(folder)


@pytest.mark.parametrize("name", ["../outside", "a/b", ".hidden", "", "a\\b"])
def test_file_names_cannot_lead_out_of_the_bundle(name: str, folder: Path) -> None:
    def add(document: dict[str, Any]) -> None:
        document["files"][name] = {"sha256": "", "bytes": 0}

    change(folder, add)

    with pytest.raises(BundleError, match=r"manifest\.json: files"):
        read_manifest(folder)


def test_a_missing_field_is_named(folder: Path) -> None:
    change(folder, lambda document: document["index"].pop("factory"))

    with pytest.raises(BundleError, match=r"index\.factory: Field required"):
        read_manifest(folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda document: document["metrics"]["test"].update({"recall@50": 0.9}),
        lambda document: document.update(version="20260101T000000Z-00000000"),
        lambda document: document.update(created="2026-01-01T00:00:00+00:00"),
        lambda document: document.update(created="yesterday"),
        lambda document: document.update(added="later"),
    ],
)
def test_any_later_change_is_noticed(
    edit: Callable[[dict[str, Any]], object], folder: Path
) -> None:
    change(folder, edit)

    with pytest.raises(BundleError, match="changed after it was written"):
        read_manifest(folder)


def rewritten(folder: Path, **edits: Any) -> None:
    """Write the manifest as a builder would that had these fields."""
    document = {**json.loads((folder / MANIFEST_FILE).read_text()), **edits}
    if "version" not in edits:
        document["version"] = _version_name(document)
    (folder / MANIFEST_FILE).write_text(json.dumps(document, indent=2) + "\n")


@pytest.mark.parametrize(
    "created", ["yesterday", "0001-01-01T00:00:00+23:00", "0800-01-01T00:00:00+00:00"]
)
def test_a_moment_that_names_no_version_is_refused(created: str, folder: Path) -> None:
    rewritten(folder, created=created)

    with pytest.raises(BundleError, match=r"manifest\.json: version: .*not a version's name"):
        read_manifest(folder)


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1])
def test_a_recall_that_is_no_share_is_refused(value: float, folder: Path) -> None:
    index = json.loads((folder / MANIFEST_FILE).read_text())["index"]
    rewritten(folder, index={**index, "target_recall": value})

    with pytest.raises(BundleError, match=r"manifest\.json: index\.target_recall"):
        read_manifest(folder)


def test_a_manifest_that_is_nested_too_deeply_is_refused(folder: Path) -> None:
    (folder / MANIFEST_FILE).write_text("[" * 100_000)

    with pytest.raises(BundleError, match=r"manifest\.json: nested too deeply"):
        read_manifest(folder)


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(BundleError, match=r"manifest\.json: no such file; is .* a bundle\?"):
            read_manifest(path)
