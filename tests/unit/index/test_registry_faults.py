"""Publishing with real faults: processes killed at any moment, files that cannot grow."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from index.manifest import read_manifest
from index.registry import Registry
from tests.bundles import build_small_bundle, write_run

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small bundle, and one large enough to be caught while it is copied."""
    folder = tmp_path_factory.mktemp("bundles")
    old = build_small_bundle(folder, name="old", n_items=50)
    return old, build_small_bundle(folder, name="new", n_items=20_000, dim=64, n_histories=3)


def index_command(*arguments: object, file_limit: int) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m index`` in a process whose files cannot grow beyond a size in bytes."""
    return subprocess.run(
        [sys.executable, "-m", "index", *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit)),
    )


def test_a_publisher_killed_at_any_moment_leaves_the_registry_whole(
    bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    script = Path(__file__).with_name("publish_and_die.py")
    arguments = [*bundles, tmp_path / "registry", 24]

    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0, "no publisher died in the middle of copying"


@pytest.mark.parametrize(("what", "at_least"), [("publish", 40), ("prune", 30), ("sign", 5)])
def test_killed_at_any_step_the_registry_is_whole_and_the_next_command_goes_through(
    what: str, at_least: int, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "registry")
    paths = [build_small_bundle(tmp_path, name=f"b{n}", n_items=n, dim=4) for n in range(20, 25)]
    for path in sorted(paths[1:], key=lambda path: read_manifest(path).version):
        registry.publish(path)
    script = Path(__file__).with_name("kill_everywhere.py")

    done = subprocess.run(
        [sys.executable, script, what, str(registry.path), str(paths[0])],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > at_least


@pytest.mark.parametrize("file_limit", [0, 3_000_000])
def test_a_full_disk_leaves_the_registry_as_it_was(
    file_limit: int, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "registry")
    live = registry.publish(bundles[0])

    done = index_command("publish", bundles[1], "--registry", registry.path, file_limit=file_limit)

    assert done.returncode == 1
    assert done.stderr.startswith("error: File too large: ")
    assert str(registry.path) in done.stderr
    assert "Traceback" not in done.stderr
    assert (registry.current(), registry.versions()) == (live, [live])
    assert not list(registry.path.rglob(".staging-*"))


@pytest.mark.parametrize("file_limit", [0, 1_000, 50_000])
def test_a_full_disk_leaves_no_half_bundle(file_limit: int, tmp_path: Path) -> None:
    run, out = write_run(tmp_path / "run", n_items=900), tmp_path / "out"

    done = index_command("build", run, "--out", out / "bundle", file_limit=file_limit)

    assert done.returncode == 1
    assert str(out) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list(out.iterdir()) == []
