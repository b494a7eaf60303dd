"""Do one thing to a registry again and again, killed at each step in turn; run by tests.

Usage: kill_everywhere.py publish|prune|sign REGISTRY BUNDLE. Steps are what Python tells its audit
hooks of the file system: every opening, making, renaming, removing, and lock. One process that
forks, because importing takes far longer than the rest. Prints after how many steps it was done.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from index.bundles.bundle import check_files, open_bundle, sign_bundle
from index.bundles.manifest import read_manifest
from index.bundles.signing import KEY_VARIABLE
from index.registry.registry import Registry

STEPS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "fcntl.flock", "shutil.rmtree"}
MOST_STEPS = 1000


def main(what: str, pristine: Path, bundle: Path) -> int:
    """Kill after one step, after two, … until it is done before."""
    work = pristine.with_name(f"{what}-work")
    for steps in range(1, MOST_STEPS):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(pristine, work)
        registry = Registry(work)
        before = state(registry)
        actions: dict[str, Callable[[], object]] = {
            "publish": lambda: registry.publish(bundle),  # noqa: B023
            "prune": lambda: registry.prune(1),  # noqa: B023
            "sign": lambda: sign(registry),  # noqa: B023
        }
        was_killed = killed_after(steps, actions[what])
        check(registry, before)
        actions[what]()  # what was left is in nobody's way
        check(registry, before)
        assert not list(work.rglob(".staging-*")), list(work.rglob(".staging-*"))
        if not was_killed:
            return steps
    raise AssertionError(f"not done after {MOST_STEPS} steps")


def sign(registry: Registry) -> None:
    """Sign the oldest version; the others stay unsigned, and readable without the key."""
    os.environ[KEY_VARIABLE] = 32 * "k"
    sign_bundle(registry.bundle_path(registry.versions()[0]))
    del os.environ[KEY_VARIABLE]


def killed_after(steps: int, action: Callable[[], object]) -> bool:
    """Do it in a child that dies at a step; tell whether it did."""
    child = os.fork()
    if child == 0:
        left = steps

        def count_down(event: str, _: tuple[Any, ...]) -> None:
            nonlocal left
            if event not in STEPS:  # os.kill is an event too
                return
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count_down)
        action()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def state(registry: Registry) -> tuple[str | None, str]:
    """Return what is live and what a rollback would go to."""
    history = (registry.path / "history.json").read_text()
    return registry.current(), history.rpartition('"version": "')[2].partition('"')[0]


def check(registry: Registry, before: tuple[str | None, str]) -> None:
    """Every bundle that has a name is whole; CURRENT and what was live before are there."""
    versions = registry.versions()
    assert registry.current() in versions
    assert set(before) <= set(versions), (before, versions)
    for version in versions:
        path = registry.bundle_path(version)
        check_files(path, read_manifest(path))
    open_bundle(registry.bundle_path(str(registry.current())))


if __name__ == "__main__":
    sys.stdout.write(str(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
