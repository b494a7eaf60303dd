"""What ``make demo`` shows once a bundle is live."""

import os
import select
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from index.registry.registry import Registry
from tests.bundles import build_small_bundle
from tests.services import REPOSITORY, service_environment

DEMO = REPOSITORY / "deploy" / "demo.py"
START_SECONDS = 60


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def read_until(process: "subprocess.Popen[bytes]", ending: str) -> str:
    """Read stdout until a line holds ``ending``, or there is nothing more."""
    assert process.stdout is not None
    text = ""
    while ending not in text and select.select([process.stdout], [], [], START_SECONDS)[0]:
        line = os.read(process.stdout.fileno(), 1 << 16)
        if not line:
            break
        text += line.decode()
    return text


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    Registry(tmp_path / "registry").publish(build_small_bundle(tmp_path))
    return tmp_path / "registry"


def test_the_curl_that_the_demo_prints_answers_with_titles(registry: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, DEMO, "--registry", registry, "--port", str(free_port())],
        env=service_environment(drain_seconds=0),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        shown = read_until(process, "Ctrl-C")
        command = shown.partition("Try:\n")[2].partition("\n\n")[0]
        # The words that a shell makes of it; not every machine has curl.
        curl, _, url, _, header, _, body = shlex.split(command.replace("\\\n", ""))
        name, _, value = header.partition(": ")
        candidates = httpx.post(url, content=body, headers={name: value}).json()["candidates"]
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(30)
        assert process.stdout is not None
        process.stdout.close()

    assert curl == "curl"
    assert len(candidates) == 10
    for candidate in candidates:
        assert candidate["title"] in shown
    assert status == 0


def test_a_taken_port_ends_the_demo_with_one_clear_line(registry: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, DEMO, "--registry", registry, "--port", port],
            env=service_environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert port in done.stderr


def test_a_registry_without_a_live_bundle_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, DEMO, "--registry", tmp_path],
        env=service_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "no bundle is live" in done.stderr
