"""``verify``, ``diff``, ``sign``, ``prune`` and refusing what is worse, as scripts use them."""

import json
from pathlib import Path
from typing import Any

import pytest

from index.__main__ import main
from index.registry.registry import Registry
from tests.bundles import build_small_bundle

KEY = "0123456789abcdef0123456789abcdef"


class Commands:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.status = 0
        self.err = ""

    def text(self, *arguments: object) -> str:
        """Run, and return what is on stdout."""
        self.status = main([str(each) for each in arguments])
        printed = self._capsys.readouterr()
        self.err = printed.err
        return printed.out

    def document(self, *arguments: object) -> Any:
        """Run with ``--json``, and return the document, None where there is none."""
        out = self.text(*arguments, "--json")
        return json.loads(out) if out else None


@pytest.fixture
def commands(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return build_small_bundle(tmp_path)


@pytest.fixture
def registry(bundle: Path, tmp_path: Path) -> Path:
    Registry(tmp_path / "registry").publish(bundle)
    return tmp_path / "registry"


def test_verifying_a_damaged_bundle_lists_all_of_it(commands: Commands, bundle: Path) -> None:
    assert commands.document("verify", bundle)["problems"] == []
    assert commands.status == 0
    for name in ("popular.npy", "report.html"):
        (bundle / name).write_bytes(b"")

    document = commands.document("verify", bundle)

    assert commands.status == 1
    assert len(document["problems"]) == 2
    assert all(": has 0 bytes, the manifest says" in each for each in document["problems"])
    assert commands.err.startswith("error: 2 problems; first: ")
    assert commands.err.count("\n") == 1
    assert commands.text("verify", bundle).splitlines() == document["problems"]


def test_verifying_a_registry(commands: Commands, registry: Path, tmp_path: Path) -> None:
    version = Registry(registry).current()
    other = Registry(registry).publish(
        build_small_bundle(tmp_path, name="other", seed=1), activate=False
    )
    (registry / "bundles" / other / "popular.npy").unlink()

    live = commands.document("verify", "--registry", registry)
    assert (commands.status, live["current"]) == (0, version)
    assert [each["version"] for each in live["bundles"]] == [version]
    one = commands.document("verify", other, "--registry", registry)
    assert (commands.status, [each["version"] for each in one["bundles"]]) == (1, [other])
    every = commands.document("verify", "--all", "--registry", registry)
    assert (commands.status, len(every["bundles"])) == (1, 2)
    assert "popular.npy: is missing" in commands.err
    said = commands.text("verify", "--all", "--registry", registry)
    assert "300 items, index flat" in said
    assert "popular.npy: is missing" in said


def test_verifying_where_nothing_is_live(commands: Commands, tmp_path: Path) -> None:
    assert commands.document("verify", "--registry", tmp_path) is None
    assert (commands.status, "has no CURRENT" in commands.err) == (1, True)
    assert commands.text("verify", "--all", "--registry", tmp_path) == f"{tmp_path}: no bundles\n"
    assert commands.status == 0
    commands.text("verify", "--all", "--registry", tmp_path / "nowhere")
    assert (commands.status, "no registry here" in commands.err) == (1, True)


def test_every_command_says_alike_that_nothing_is_live(commands: Commands, tmp_path: Path) -> None:
    said = (
        f"{tmp_path}: has no CURRENT; `python -m index activate VERSION --registry {tmp_path}`, or "
    )
    for *arguments, otherwise in (
        ("verify", "verify with --all"),
        ("diff", tmp_path, "name two bundles"),
        ("add-items", "items.csv", "--out", "out", "name a bundle with --bundle"),
        ("remove-items", "item", "--out", "out", "name a bundle with --bundle"),
    ):
        commands.text(*arguments, "--registry", tmp_path)
        assert commands.status == 1
        assert commands.err == f"error: {said}{otherwise}\n"


def test_a_bundle_is_compared_with_the_live_one(
    commands: Commands, bundle: Path, registry: Path, tmp_path: Path
) -> None:
    live = Registry(registry).current()
    other = build_small_bundle(tmp_path, name="other", n_items=320, seed=1)

    document = commands.document("diff", other, "--registry", registry)

    assert commands.status == 0
    assert document["before"] == live
    assert (document["items"]["added"], document["items"]["removed"]) == (20, 0)
    assert document["answers"]["compared"] == document["answers"]["probes"]
    assert 0 <= document["answers"]["overlap@100"] < 1
    assert document == commands.document("diff", live, other, "--registry", registry)
    assert document == commands.document("diff", bundle, other)
    said = commands.text("diff", bundle, other)
    assert "items: 300 → 320, 20 added (item-0300, " in said
    assert "item-0309, …), none removed" in said
    assert "valid recall@50: 0.3000 → 0.3000 (+0.0000)" in said
    assert "answers: overlap@100 0." in said


def test_what_cannot_be_compared_is_refused(
    commands: Commands, bundle: Path, tmp_path: Path
) -> None:
    for arguments, reason in (
        ((bundle, tmp_path / "nowhere"), "no such file"),
        ((bundle, "--registry", tmp_path), "has no CURRENT"),
        (("20200101T000000Z-00000000", bundle, "--registry", tmp_path), "has no bundle"),
    ):
        assert commands.document("diff", *arguments) is None
        assert (commands.status, reason in commands.err) == (1, True)


def test_pruning_tells_what_went_and_what_stayed(
    commands: Commands, registry: Path, tmp_path: Path
) -> None:
    for seed in (1, 2):
        Registry(registry).publish(build_small_bundle(tmp_path, name=f"b{seed}", seed=seed))
    versions = Registry(registry).versions()
    for version in versions:  # those built within one second do not sort as they were built
        Registry(registry).activate(version)
    current = versions[-1]
    options = ("prune", "--keep", 1, "--registry", registry)

    dry = commands.document(*options, "--dry-run")
    assert "1 would be removed, " in commands.text(*options, "--dry-run")
    assert Registry(registry).versions() == versions
    done = commands.document(*options)

    assert done == {**dry, "dry_run": False}
    (removed,) = done["removed"]
    assert done["bytes_freed"] == removed["bytes"] > 100_000
    assert done["kept"] == Registry(registry).versions()
    assert {removed["version"], *done["kept"]} == set(versions)
    assert done["current"] == current
    assert commands.text(*options) == "0 removed, 0 bytes; 2 kept\n"


def test_a_worse_bundle_is_refused_until_it_is_forced(
    commands: Commands, registry: Path, tmp_path: Path
) -> None:
    live = Registry(registry).current()
    worse = build_small_bundle(tmp_path, name="worse", n_items=150)

    assert commands.document("publish", worse, "--registry", registry) is None
    assert commands.status == 1
    assert commands.err.count("\n") == 1
    assert "items in the catalog 150 against 300" in commands.err
    assert Registry(registry).current() == live
    version = commands.document("publish", worse, "--registry", registry, "--no-activate")[
        "version"
    ]
    assert commands.document("activate", version, "--registry", registry) is None
    forced = commands.document("activate", version, "--registry", registry, "--force")

    assert forced["comparison"] == {
        "live": live,
        "worse": ["items in the catalog 150 against 300 (−50.0%)"],
        "not_compared": [],
        "tolerance": 0.05,
        "forced": True,
    }
    tolerated = commands.document("activate", live, "--registry", registry, "--tolerance", "0.5")
    assert tolerated["comparison"]["forced"] is False


def test_signing_on_the_command_line(
    commands: Commands, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commands.document("sign", bundle) is None
    assert (commands.status, "OPAL_SIGNING_KEY is not set" in commands.err) == (1, True)
    monkeypatch.setenv("OPAL_SIGNING_KEY", KEY)
    assert "manifest.sig: is missing" in commands.document("verify", bundle)["problems"][0]

    assert commands.document("sign", bundle)["signed"] is True
    assert commands.text("sign", bundle) == f"{bundle}: signed\n"
    assert commands.document("verify", bundle)["problems"] == []


def test_a_key_that_cannot_be_used_is_told_before_building(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPAL_SIGNING_KEY", "hunter2")

    commands.text("build", tmp_path / "nowhere", "--out", tmp_path / "out")

    assert (commands.status, "key 1 of 1 is shorter than 32" in commands.err) == (1, True)
    assert "hunter2" not in commands.err
