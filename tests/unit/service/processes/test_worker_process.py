"""A worker process."""

import signal
from pathlib import Path

import pytest
from prometheus_client import values

from service.processes.worker_process import Worker
from tests.services import wait_until


def test_a_worker_stops_with_its_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Parent:
        def join(self) -> None: ...

    told: list[int] = []
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr("service.processes.worker_process.parent_process", Parent)
    monkeypatch.setattr("os.kill", lambda _, number: told.append(number))
    monkeypatch.setattr("uvicorn.supervisors.multiprocess.Process.target", lambda *_: None)
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)  # a worker counts in files
    Worker.__new__(Worker).target(None)
    wait_until(lambda: told, what="the worker to be told")

    assert told == [signal.SIGTERM]
