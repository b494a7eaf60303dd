import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from service.processes.server import bind
from service.processes.supervisor import Pause, Supervisor


class FakeWorker:
    """A worker without a process."""

    def __init__(self, *, alive: bool = True, exitcode: int | None = None) -> None:
        self.alive, self.exitcode, self.pid = alive, exitcode, 4_000_000
        self.started = 0.0
        self.is_lost = False
        self.calls: list[str] = []

    def end_if_lost(self, seconds: float) -> None:
        assert not self.is_lost

    def is_alive(self, timeout: float = 5) -> bool:
        return self.alive

    def wait_until_ready(self, timeout: float, should_exit: object = None) -> bool:
        return self.alive

    def is_ready(self, timeout: float = 5) -> bool:
        return self.alive

    def __getattr__(self, name: str) -> Any:
        return lambda: self.calls.append(name)


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor whose workers are fakes."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTTIN)
    before = {
        number: signal.getsignal(number)
        for number in (*handled, signal.SIGTTOU, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
    }
    with bind("127.0.0.1", 0) as listener:
        made = Supervisor(
            uvicorn.Config("service.app:create_app", factory=True, workers=2, log_config=None),
            listener,
            metrics_path=tmp_path,
            drain_seconds=0,
            announcement={"url": "http://test", "workers": 2, "bundle_version": "v"},
            as_json=True,
        )
        monkeypatch.setattr(made, "_start_worker", FakeWorker)
        made.init_processes()
        yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def fakes(supervisor: Supervisor) -> list[Any]:
    return list(supervisor.processes)


def test_it_tells_its_address_once_when_all_workers_serve(
    supervisor: Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes(supervisor)[1].is_ready = lambda timeout=5: False
    supervisor.keep_subprocess_alive()
    assert capsys.readouterr().out == ""

    del fakes(supervisor)[1].is_ready
    supervisor.keep_subprocess_alive()
    supervisor.keep_subprocess_alive()

    assert json.loads(capsys.readouterr().out) == {
        "url": "http://test",
        "workers": 2,
        "bundle_version": "v",
    }


def test_a_dead_worker_is_replaced_and_its_files_of_metrics_are_put_away(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    dead = fakes(supervisor)[0]
    dead.alive, dead.exitcode = False, -9
    gauge = tmp_path / f"gauge_livesum_{dead.pid}.db"
    counter = tmp_path / f"counter_{dead.pid}.db"
    gauge.touch()
    counter.touch()
    supervisor.keep_subprocess_alive()

    assert dead not in fakes(supervisor)
    assert len(fakes(supervisor)) == 2
    assert dead.calls == ["kill", "join"]
    assert not gauge.exists()
    assert not counter.exists()
    assert (tmp_path / "counter_0.db").exists()


def test_a_worker_that_dies_at_once_is_replaced_after_a_pause_that_doubles() -> None:
    pause = Pause()

    assert [pause.begin(0.1) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert pause.begin(3600) == 0
    assert pause.begin(0.1) == 0.5


def test_the_place_of_one_that_died_at_once_stays_empty_meanwhile(supervisor: Supervisor) -> None:
    dead, other = fakes(supervisor)
    dead.alive, dead.exitcode, dead.started = False, -9, time.monotonic()
    supervisor.keep_subprocess_alive()
    supervisor.keep_subprocess_alive()
    assert fakes(supervisor) == [dead, other]

    time.sleep(0.6)
    supervisor.keep_subprocess_alive()
    assert dead not in fakes(supervisor)


def test_on_sighup_each_worker_is_replaced_by_one_of_ours(supervisor: Supervisor) -> None:
    before = fakes(supervisor)
    supervisor.handle_hup()

    assert not set(before) & set(fakes(supervisor))
    assert all(isinstance(worker, FakeWorker) for worker in fakes(supervisor))
    assert [worker.calls for worker in before] == [["terminate", "join"]] * 2


def test_a_restart_ends_at_a_worker_that_cannot_start(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fakes(supervisor)
    broken = FakeWorker(alive=False, exitcode=STARTUP_FAILURE)
    monkeypatch.setattr(supervisor, "_start_worker", lambda: broken)
    supervisor.handle_hup()

    assert fakes(supervisor) == before
    assert broken.calls == ["kill", "join"]
    assert [worker.calls for worker in before] == [[], []]


def test_a_restart_gives_way_to_sigterm(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fakes(supervisor)
    monkeypatch.setattr(supervisor, "_start_worker", lambda: FakeWorker(alive=False))
    supervisor.signal_queue.append(signal.SIGTERM)
    supervisor.handle_hup()

    assert fakes(supervisor) == before


@pytest.mark.parametrize("name", ["handle_ttin", "handle_ttou"])
def test_signals_that_change_the_number_of_workers_are_ignored(
    supervisor: Supervisor, name: str
) -> None:
    before = fakes(supervisor)
    getattr(supervisor, name)()

    assert fakes(supervisor) == before


def test_it_gives_up_if_no_worker_can_start(supervisor: Supervisor) -> None:
    dead = fakes(supervisor)[0]
    dead.alive, dead.exitcode = False, STARTUP_FAILURE
    supervisor.keep_subprocess_alive()

    assert supervisor.failed
    assert supervisor.should_exit.is_set()


def test_it_does_not_give_up_once_all_have_served(supervisor: Supervisor) -> None:
    supervisor.keep_subprocess_alive()
    dead = fakes(supervisor)[0]
    dead.alive, dead.exitcode = False, STARTUP_FAILURE
    supervisor.keep_subprocess_alive()

    assert not supervisor.failed
    assert dead not in fakes(supervisor)


def test_nothing_is_replaced_while_it_stops(supervisor: Supervisor) -> None:
    dead = fakes(supervisor)[0]
    dead.alive = False
    supervisor.should_exit.set()
    supervisor.keep_subprocess_alive()

    assert dead in fakes(supervisor)


def test_on_sigterm_workers_are_told_first(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda pid, number: told.append((pid, number)))
    fakes(supervisor)[1].exitcode = 0
    supervisor.handle_term()

    assert told == [(4_000_000, signal.SIGUSR1)]
    assert supervisor.should_exit.is_set()


def test_it_stops_listening_before_it_stops_the_workers(supervisor: Supervisor) -> None:
    supervisor.terminate_all()

    assert supervisor.sockets[0].fileno() == -1
    assert all(worker.calls == ["terminate"] for worker in fakes(supervisor))
