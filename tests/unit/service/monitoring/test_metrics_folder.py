"""The folder of metrics goes away, however the service that made it ended."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.monitoring.metrics_folder import hold, metrics_folder
from tests.services import REPOSITORY

OWNER = """
import sys
from service.monitoring.metrics_folder import metrics_folder
with metrics_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@contextmanager
def another_service(tmp_path: Path) -> Iterator[tuple[Path, "subprocess.Popen[str]"]]:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield Path(process.stdout.readline().strip()), process
        process.kill()


def test_the_folder_is_new_and_goes_away() -> None:
    with metrics_folder() as folder:
        assert list(folder.iterdir()) == []
        (folder / "counter_1.db").touch()

    assert not folder.exists()


def test_what_a_killed_service_left_is_swept_by_the_next(tmp_path: Path) -> None:
    with another_service(tmp_path) as (left, process):
        (left / "counter_1.db").touch()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert left.is_dir()

        with metrics_folder() as folder:
            assert list(tmp_path.iterdir()) == [folder]


def test_the_folder_of_a_living_service_stays(tmp_path: Path) -> None:
    with another_service(tmp_path) as (theirs, _), metrics_folder() as ours:
        assert sorted(tmp_path.iterdir()) == sorted([theirs, ours])


def test_a_folder_stays_until_the_last_worker_of_a_killed_service_ends(tmp_path: Path) -> None:
    with another_service(tmp_path) as (left, process):
        descriptor = hold(left)  # as a worker does
        process.send_signal(signal.SIGKILL)
        process.wait()
        with metrics_folder():
            assert left.is_dir()

        os.close(descriptor)
        with metrics_folder():
            assert not left.exists()


def test_what_is_no_folder_of_ours_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "opal-metrics-file").touch()
    (tmp_path / "precious").mkdir()
    (tmp_path / "opal-metrics-link").symlink_to(tmp_path / "precious")
    with metrics_folder():
        pass
    assert len(list(tmp_path.iterdir())) == 3

    (tmp_path / "opal-metrics-theirs").mkdir()
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with metrics_folder():
        pass
    assert (tmp_path / "opal-metrics-theirs").is_dir()
