"""``python -m index`` as scripts use it: exit status, stdout, stderr."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from index.__main__ import COMMANDS, main
from tests.bundles import build_small_bundle, write_run

ROOT = Path(__file__).parents[3]


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "index", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def document(*arguments: object) -> dict[str, Any]:
    """Run with ``--json`` and return the document."""
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_bundles_life(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / f"run{seed}", seed=seed) for seed in (1, 2))
    registry = tmp_path / "registry"

    built = document("build", first, "--out", tmp_path / "a", "--recall", "0.9")
    assert built["index"]["measured_recall"] == 1.0
    assert built["metrics"]["test"]["recall@50"] == 0.3
    assert document("verify", tmp_path / "a")["version"] == built["version"]
    published = document("publish", tmp_path / "a", "--registry", registry)
    assert published == {
        "version": built["version"],
        "new": True,
        "current": built["version"],
        "registry": str(registry),
        "comparison": None,
    }
    other = document("build", second, "--out", tmp_path / "b", "--kind", "flat")["version"]
    assert (
        document("publish", tmp_path / "b", "--registry", registry, "--no-activate")["current"]
        == built["version"]
    )
    assert document("activate", other, "--registry", registry)["current"] == other
    listed = document("list", "--registry", registry)
    assert listed["current"] == other
    assert {each["version"]: each["live"] for each in listed["bundles"]} == {
        built["version"]: False,
        other: True,
    }
    assert document("rollback", "--registry", registry)["current"] == built["version"]


def test_json_has_stdout_for_itself_and_logs_go_to_stderr(tmp_path: Path) -> None:
    done = run("build", write_run(tmp_path / "run"), "--out", tmp_path / "bundle", "--json")

    assert json.loads(done.stdout)["catalog"] == {"items": 300, "dim": 16, "cold": 0}
    assert "Recall@100" in done.stderr


def test_a_failure_is_one_line_on_stderr_and_status_1(tmp_path: Path) -> None:
    done = run("verify", tmp_path / "nowhere", "--json")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert "manifest.json: no such file" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["build"],
        ["build", "run"],
        ["publish", "bundle"],
        ["activate", "--registry", "r"],
        ["build", "run", "--out", "o", "--recall", "95"],
        ["build", "run", "--out", "o", "--recall", "nan"],
        ["build", "run", "--out", "o", "--recall", "much"],
        ["publish", "bundle", "--registry", "r", "--tolerance", "2"],
        ["prune", "--registry", "r"],
        ["prune", "--registry", "r", "--keep", "0"],
        ["prune", "--registry", "r", "--keep", "few"],
        ["diff", "a"],
        ["verify"],
        ["verify", "--all"],
        ["verify", "bundle", "--all", "--registry", "r"],
        ["sign"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert "usage: python -m index" in capsys.readouterr().err


def test_a_recall_that_is_no_number_is_refused_in_plain_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["build", "run", "--out", "bundle", "--recall", "x"])

    assert "'x' is not a number between 0 and 1" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])

    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n    {name} " in text


def test_texts_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, registry = build_small_bundle(tmp_path), ["--registry", str(tmp_path / "registry")]
    out = str(tmp_path / "other")

    def said(*arguments: str, status: int = 0) -> str:
        assert main(list(arguments)) == status
        printed = capsys.readouterr()
        return printed.out if status == 0 else printed.err

    assert "no registry here" in said("list", *registry, status=1)
    assert "no registry here" in said("rollback", *registry, status=1)
    (tmp_path / "registry").mkdir()
    assert "nothing to go back to" in said("rollback", *registry, status=1)
    assert "registry: no bundles" in said("list", *registry)
    assert "300 items, index flat, recall@100 1.0000" in said("verify", str(bundle))
    version = said("publish", str(bundle), *registry, "--no-activate").split()[0]
    assert said("publish", str(bundle), *registry) == (
        f"{version} was published already; CURRENT is {version}\n"
    )
    assert said("list", *registry) == f"* {version}  opal (soft), 300 items\n"
    assert said("activate", version, *registry) == f"CURRENT is {version}\n"
    assert "is not a version's name" in said("activate", "../x", *registry, status=1)
    other = str(build_small_bundle(tmp_path, name="second", n_items=30))
    assert "items in the catalog 30 against 300" in said("publish", other, *registry, status=1)
    assert said("publish", other, *registry, "--force").endswith(
        f" (forced: worse than {version})\n"
    )
    assert said("rollback", *registry) == f"CURRENT is {version}\n"
    assert "index flat" in said(
        "build", str(tmp_path / "bundle-run"), "--out", out, "--recall", "0.5"
    )
    assert "exists already" in said("build", str(tmp_path / "bundle-run"), "--out", out, status=1)
    (tmp_path / "registry" / "CURRENT").write_text("?")
    assert said("list", *registry).splitlines()[2].endswith("activate a version again")
    (tmp_path / "registry" / "bundles" / version / "manifest.json").write_text("{")
    assert "not JSON" in said("list", *registry)


def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_path = write_run(tmp_path / "run")
    (tmp_path / "file").touch()

    assert main(["build", str(run_path), "--out", str(tmp_path / "file" / "bundle")]) == 1

    assert f"{tmp_path / 'file'}" in capsys.readouterr().err
