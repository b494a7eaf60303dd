"""Totals over dead workers, counted by real processes that write real files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.monitoring.metric_files import render_all, retire
from tests.services import service_environment

PROGRAM = """
import os, signal
from service.monitoring.metrics import Metrics
m = Metrics()
m.answers.labels("model").inc(3)
m.batch_size.observe(2)
m.workers_ready.set(1)
print(os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def one_dies(folder: Path) -> int:
    """Run a worker that counts and is killed; return its process id."""
    environment = service_environment() | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=False
    )
    return int(ended.stdout)


def without_gauges(folder: Path) -> set[bytes]:
    return {
        line
        for line in render_all(folder).splitlines()
        if line.startswith((b"opal_answers", b"opal_batch"))
    }


def test_totals_stay_and_files_are_bounded_however_many_die(tmp_path: Path) -> None:
    for died in range(1, 5):
        pid = one_dies(tmp_path)
        before = without_gauges(tmp_path)
        retire(tmp_path, pid)

        assert without_gauges(tmp_path) == before
        assert f'opal_answers_total{{source="model"}} {3.0 * died}'.encode() in before
        assert f"opal_batch_size_count {float(died)}".encode() in before
        assert f'opal_batch_size_bucket{{le="2.0"}} {float(died)}'.encode() in before
        assert sorted(path.name for path in tmp_path.glob("*.db")) == [
            "counter_0.db",
            "histogram_0.db",
        ]
    assert b"opal_workers_ready 1" not in render_all(tmp_path)


def test_a_file_that_cannot_be_read_spoils_no_scrape(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pid = one_dies(tmp_path)
    (tmp_path / "counter_77.db").write_bytes(b"\x60\0\0\0" + b"\x7f" * 200)
    retire(tmp_path, 77)
    retire(tmp_path, pid)

    assert b'opal_answers_total{source="model"} 3.0' in render_all(tmp_path)
    assert "metrics of worker 77" in caplog.text


def test_a_worker_that_counted_nothing_leaves_nothing(tmp_path: Path) -> None:
    retire(tmp_path, os.getpid())

    assert list(tmp_path.glob("*.db")) == []
