"""Which peers there are, what they are built on, and how each is started and asked."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.peers.core import WORKERS
from tests.bench.peers.environment import program

Command = Callable[[Path, int, Path], list[str]]
"""From the virtual environment, the port, and a folder for the server's own files."""


def _as_it_is(body: str) -> str:
    return body


@dataclass(frozen=True)
class Peer:
    """Another stack around the same core, in two processes.

    Attributes:
        name: On the command line.
        title: In tables.
        command: Starts it.
        needs: How the requirement begins without which it cannot run.
        variables: Its environment.
        wrap: Makes its body of one of ours.
    """

    name: str
    title: str
    command: Command
    needs: str
    variables: dict[str, str] = field(default_factory=dict)
    wrap: Callable[[str], str] = _as_it_is


def _python(module: str) -> Callable[[Path], list[str]]:
    return lambda venv: [program(venv, "python"), "-m", f"tests.bench.peers.{module}"]


def _as_list(body: str) -> str:
    return json.dumps({"requests": [json.loads(body)]})


def _mosec(venv: Path, port: int, folder: Path) -> list[str]:
    return [
        *_python("with_mosec")(venv),
        *("--address", "127.0.0.1", "--port", str(port), "--path", str(folder)),
        *("--capacity", "4096", "--timeout", "60000", "--log-level", "warning"),
    ]


def _bentoml(venv: Path, port: int, folder: Path) -> list[str]:
    service = "tests.bench.peers.with_bentoml:Match"
    return [
        *(program(venv, "bentoml"), "serve", service, "--host", "127.0.0.1", "--port", str(port)),
        *("--working-dir", ".", "--quiet"),
    ]


def _litserve(venv: Path, port: int, folder: Path) -> list[str]:
    return [*_python("with_litserve")(venv), str(port)]


def _ray(venv: Path, port: int, folder: Path) -> list[str]:
    return [*_python("with_ray")(venv), str(port), str(folder)]


def _granian(venv: Path, port: int, folder: Path) -> list[str]:
    return [
        *(program(venv, "granian"), "--interface", "rsgi", "--host", "127.0.0.1"),
        *("--port", str(port), "--workers", str(WORKERS), "--loop", "uvloop", "--no-ws"),
        *("--log-level", "warning", "tests.bench.peers.with_granian:app"),
    ]


def _fastapi_batched(venv: Path, port: int, folder: Path) -> list[str]:
    return [
        *(program(venv, "python"), "-m", "uvicorn", "--factory"),
        *("tests.bench.plain_service:create_batched", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", str(WORKERS), "--loop", "uvloop", "--http", "httptools", "--ws", "none"),
        *("--no-access-log", "--no-server-header", "--log-level", "warning"),
    ]


PEERS = (
    Peer("mosec", "mosec, dynamic batching", _mosec, "mosec="),
    # With its ingress in C, which its documentation recommends for throughput.
    Peer(
        "ray",
        "Ray Serve, @serve.batch",
        _ray,
        "ray[",
        {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_USAGE_STATS_ENABLED": "0"},
    ),
    Peer("litserve", "LitServe, batching", _litserve, "litserve="),
    Peer(
        "bentoml",
        "BentoML, adaptive batching",
        _bentoml,
        "bentoml=",
        {"BENTOML_DO_NOT_TRACK": "1"},
        wrap=_as_list,
    ),
    Peer("granian", "Granian RSGI, msgspec, own queue", _granian, "granian="),
    Peer("fastapi", "FastAPI, orjson, own queue", _fastapi_batched, "fastapi="),
)

NAMES = tuple(peer.name for peer in PEERS)
