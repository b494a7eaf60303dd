"""Time is added up over interruptions."""

import json
import math
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from model.comparison import stopwatch
from model.comparison.cell import TIME_FILE, read_seconds
from model.comparison.stopwatch import measured
from model.runtime.interruption import Stopped


def test_times_of_several_sessions_add_up(tmp_path: Path) -> None:
    with measured(tmp_path):
        time.sleep(0.2)
    first = read_seconds(tmp_path)
    with suppress(Stopped), measured(tmp_path):
        time.sleep(0.2)
        raise Stopped(signal.SIGTERM)
    second = read_seconds(tmp_path)

    assert 0.2 <= first["wall"] < 2
    assert second["wall"] >= first["wall"] + 0.2


def test_sleep_is_no_work_and_work_is(tmp_path: Path) -> None:
    with measured(tmp_path):
        time.sleep(0.3)
        asleep = read_seconds(tmp_path)
        begun = time.process_time()
        while time.process_time() - begun < 0.3:
            pass
    found = read_seconds(tmp_path)

    assert asleep["wall"] < 0.2  # noted when it began, not since
    assert 0.3 <= found["cpu"] < found["wall"]


def test_what_a_kill_would_lose_is_noted_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopwatch, "_EVERY", 0.05)
    with measured(tmp_path):
        time.sleep(0.4)
        noted = json.loads((tmp_path / TIME_FILE).read_text())

    assert noted["wall"] > 0.1


def test_a_damaged_time_is_unknown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / TIME_FILE).write_text('{"wall": ')

    with measured(tmp_path):
        pass

    assert math.isnan(read_seconds(tmp_path)["wall"])
    assert f"{tmp_path / TIME_FILE}: cannot be read" in caplog.text


def test_a_training_killed_at_once_has_a_time(tmp_path: Path) -> None:
    with measured(tmp_path):
        noted = json.loads((tmp_path / TIME_FILE).read_text())

    assert 0 <= noted["wall"] < 1


def test_a_time_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = tmp_path / "gone"

    with measured(gone):
        done = True

    assert done
    assert "the time so far was not noted" in caplog.text
