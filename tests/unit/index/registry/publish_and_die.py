"""Publish again and again and kill the publisher each time; run by test_registry_faults.

Usage: publish_and_die.py OLD NEW REGISTRY TRIALS. One process that forks, because importing takes
far longer than publishing. Prints how many publishers died in the middle of copying.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from index.bundles.bundle import check_files
from index.bundles.manifest import read_manifest
from index.registry.registry import Registry


def main(old: Path, new: Path, registry_path: Path, trials: int) -> int:
    registry, chance = Registry(registry_path), random.Random(7)
    before = registry.publish(old)
    started = time.monotonic()
    after = registry.publish(new)
    duration = time.monotonic() - started
    died_copying = 0
    for trial in range(trials):
        if registry.current() == after:
            registry.rollback()
        shutil.rmtree(registry_path / "bundles" / after, ignore_errors=True)
        publisher = os.fork()
        if publisher == 0:
            Registry(registry_path).publish(new)
            os._exit(0)
        if trial % 2:  # half of them while the copy is being made
            wait_for_copy(registry_path, publisher, duration)
        time.sleep(chance.uniform(0, duration / 3 if trial % 2 else duration * 1.2))
        os.kill(publisher, signal.SIGKILL)
        os.waitpid(publisher, 0)
        died_copying += any((registry_path / "bundles").glob(f".staging-*-{publisher}-*"))
        check(registry, before, after)
    assert registry.publish(new) == registry.current() == after
    assert not list(registry_path.rglob(".staging-*"))
    return died_copying


def wait_for_copy(registry_path: Path, publisher: int, duration: float) -> None:
    end = time.monotonic() + 5 * duration
    while (
        time.monotonic() < end
        and os.waitid(os.P_PID, publisher, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    ):
        if any(
            (folder / "encoder.safetensors").exists()
            for folder in (registry_path / "bundles").glob(f".staging-*-{publisher}-*")
        ):
            return


def check(registry: Registry, before: str, after: str) -> None:
    """CURRENT is the one or the other; every bundle that has a name is whole."""
    assert registry.current() in {before, after}, registry.current()
    assert registry.current() in registry.versions()
    for version in registry.versions():
        path = registry.bundle_path(version)
        check_files(path, read_manifest(path))


if __name__ == "__main__":
    paths = [Path(argument) for argument in sys.argv[1:4]]
    sys.stdout.write(str(main(paths[0], paths[1], paths[2], int(sys.argv[4]))))
