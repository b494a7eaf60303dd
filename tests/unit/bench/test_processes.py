"""What a benchmark starts does not outlive it."""

import sys
from pathlib import Path

import pytest

from tests.bench.load_plan import Plan
from tests.bench.processes import _MARK, marked, running
from tests.bench.servers import DidNotStartError, running_server
from tests.redis_server import free_port
from tests.services import command_line, service_environment, wait_until

# Leaves a daemon behind that is nobody's child, and does not end when asked to.
PARENT = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(600)"
subprocess.run([sys.executable, "-c", code], check=True)
print("ready", flush=True)
time.sleep({seconds})
"""


def test_daemons_that_left_their_parents_end_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.bench.processes.STOP_SECONDS", 1.0)
    log = tmp_path / "log"
    command = [sys.executable, "-c", PARENT.format(seconds=600)]
    with running(command, log, environment=service_environment()) as process:
        wait_until(lambda: "ready" in log.read_text(), what="the daemon")
        environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        [mark] = [each for each in environment if each.startswith(_MARK.encode())]
        family = marked(mark.partition(b"=")[2].decode())
        assert len(family) == 2

    # A dead one that nobody has taken leave of has no command line any more.
    assert [command_line(pid) for pid in family] == ["", ""]


def test_a_server_that_ends_says_why_it_did_not_start(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", "raise SystemExit('no such index')"]
    trial = Plan("127.0.0.1", port, ["{}"], 1.0, 1)
    with (
        pytest.raises(DidNotStartError, match="no such index"),
        running_server(command, tmp_path / "log", ("127.0.0.1", port), trial=trial, variables={}),
    ):
        pytest.fail("it has ended")
