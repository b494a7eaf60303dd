import hashlib
import hmac
import json
import shutil
from pathlib import Path

import pytest

from index.bundles.build import build_bundle
from index.bundles.bundle import open_bundle, sign_bundle
from index.bundles.manifest import MANIFEST_FILE, _version_name, read_manifest
from index.bundles.signing import KEY_VARIABLE, SIGNATURE_FILE, parse_keys, signing_keys
from index.registry.admission import Admission
from index.registry.registry import Registry
from model.errors import BundleError, InputError
from tests.bundles import write_run

KEY, OTHER_KEY = "correct-horse-battery-staple-0001", "correct-horse-battery-staple-0002"


@pytest.fixture
def unsigned(bundle_path: Path, tmp_path: Path) -> Path:
    """A bundle that was built without a key, and that a test may change."""
    return shutil.copytree(bundle_path, tmp_path / "unsigned")


@pytest.fixture
def signed(unsigned: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle signed with ``KEY``, which the environment holds."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    sign_bundle(unsigned)
    return unsigned.rename(unsigned.with_name("signed"))


def test_a_signature_is_an_hmac_over_the_manifests_bytes(signed: Path) -> None:
    expected = hmac.new(KEY.encode(), (signed / MANIFEST_FILE).read_bytes(), hashlib.sha256)

    assert (signed / SIGNATURE_FILE).read_text() == f"hmac-sha256 {expected.hexdigest()}\n"


def test_what_is_built_with_the_key_is_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)

    built = build_bundle(write_run(tmp_path / "run"), tmp_path / "bundle")

    assert SIGNATURE_FILE not in built.manifest.files
    assert open_bundle(built.path).manifest == built.manifest


def test_without_a_key_signatures_are_ignored(
    signed: Path, bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    (signed / SIGNATURE_FILE).write_text("nonsense")

    assert signing_keys() == ()
    assert open_bundle(signed).version == open_bundle(bundle_path).version
    assert not (bundle_path / SIGNATURE_FILE).exists()


def test_with_a_key_an_unsigned_bundle_is_refused(
    unsigned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)

    with pytest.raises(BundleError, match=rf"manifest\.sig: is missing.* sign {unsigned}`"):
        open_bundle(unsigned)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"hmac-sha256 ", b"hmac-sha256 " + b"0" * 64]
)
def test_a_wrong_signature_is_refused(signed: Path, content: bytes) -> None:
    (signed / SIGNATURE_FILE).write_bytes(content)

    with pytest.raises(BundleError, match=r"manifest\.sig: not a signature of this manifest") as it:
        read_manifest(signed)
    assert KEY not in str(it.value)


def test_another_key_does_not_open(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, OTHER_KEY)

    with pytest.raises(BundleError, match="not a signature of this manifest"):
        open_bundle(signed)


def test_a_manifest_that_was_forged_in_all_consistency_is_refused(
    signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = signed / MANIFEST_FILE
    document = json.loads(path.read_text())
    document["metrics"]["valid"]["recall@50"] = 0.9
    document["version"] = _version_name(document)
    path.write_text(json.dumps(document, indent=2) + "\n")

    with pytest.raises(BundleError, match="not a signature of this manifest"):
        read_manifest(signed)
    monkeypatch.delenv(KEY_VARIABLE)
    assert read_manifest(signed).metrics.valid["recall@50"] == 0.9


def test_a_key_can_be_replaced_without_a_moment_in_which_nothing_opens(
    signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, f" {OTHER_KEY} ,{KEY}\n")
    assert open_bundle(signed).version
    sign_bundle(signed)

    monkeypatch.setenv(KEY_VARIABLE, OTHER_KEY)
    assert open_bundle(signed).version


@pytest.mark.parametrize("text", ["", " ", "short", f"{KEY},", f"{KEY},short", "x" * 31])
def test_a_short_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InputError, match=r"OPAL_SIGNING_KEY: key \d of \d is shorter") as caught:
        parse_keys(text)

    assert "short," not in str(caught.value)
    assert KEY not in str(caught.value)
    assert "xxx" not in str(caught.value)


def test_without_a_key_nothing_can_be_signed(unsigned: Path) -> None:
    with pytest.raises(InputError, match="OPAL_SIGNING_KEY is not set"):
        sign_bundle(unsigned)


def test_what_is_damaged_is_not_signed(unsigned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    (unsigned / "popular.npy").write_bytes(b"")

    with pytest.raises(BundleError, match=r"popular\.npy"):
        sign_bundle(unsigned)
    assert not (unsigned / SIGNATURE_FILE).exists()


def test_signing_sweeps_what_a_killed_signer_left(
    unsigned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    (unsigned / ".staging-manifest.sig-01234567").touch()

    sign_bundle(unsigned)

    assert not list(unsigned.glob(".*"))


def test_publishing_takes_the_signature_along(signed: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")

    version = registry.publish(signed)

    assert open_bundle(registry.bundle_path(version)).version == version


def test_with_a_key_a_registry_takes_and_activates_only_what_is_signed(
    unsigned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path / "registry")
    version = registry.publish(unsigned, activate=False)
    monkeypatch.setenv(KEY_VARIABLE, KEY)

    for action in (lambda: registry.publish(unsigned), lambda: registry.activate(version)):
        with pytest.raises(BundleError, match=r"manifest\.sig: is missing"):
            action()
    assert registry.current() is None
    assert "manifest.sig: is missing" in str(registry.entries()[0].problem)

    sign_bundle(registry.bundle_path(version))
    registry.activate(version)
    assert registry.current() == version


def test_publishing_again_adds_the_signature_to_a_copy_without_touching_the_rest(
    unsigned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path / "registry")
    path = registry.bundle_path(registry.publish(unsigned))
    inodes = {file.name: file.stat().st_ino for file in path.iterdir()}
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    sign_bundle(unsigned)

    registry.publish(unsigned)

    assert open_bundle(path).version == registry.current()
    now = {file.name: file.stat().st_ino for file in path.iterdir()}
    now.pop(SIGNATURE_FILE)
    assert now == inodes


def test_rolling_back_to_what_is_not_signed_is_refused(
    bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path / "registry")
    registry.publish(bundle_path)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    second = registry.publish(build_bundle(write_run(tmp_path / "run"), tmp_path / "b").path)

    with pytest.raises(BundleError, match=r"manifest\.sig: is missing"):
        registry.rollback()
    assert registry.current() == second


def test_publishing_again_never_replaces_a_better_signature(
    signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path / "registry")
    path = registry.bundle_path(registry.publish(signed))
    monkeypatch.setenv(KEY_VARIABLE, f"{OTHER_KEY},{KEY}")
    sign_bundle(path)
    by_the_new_key = (path / SIGNATURE_FILE).read_bytes()

    registry.publish(signed)  # which the old key signed
    assert (path / SIGNATURE_FILE).read_bytes() == by_the_new_key
    monkeypatch.delenv(KEY_VARIABLE)
    (signed / SIGNATURE_FILE).write_text("junk\n")
    registry.publish(signed)

    assert (path / SIGNATURE_FILE).read_bytes() == by_the_new_key
    monkeypatch.setenv(KEY_VARIABLE, OTHER_KEY)
    assert open_bundle(path).version == registry.current()


def test_a_live_bundle_without_signature_is_compared_all_the_same(
    bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path / "registry")
    live = registry.publish(bundle_path)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    smaller = build_bundle(write_run(tmp_path / "run", n_items=100), tmp_path / "smaller").path

    with pytest.raises(BundleError, match="items"):
        registry.publish(smaller, admission=Admission())
    assert registry.current() == live
