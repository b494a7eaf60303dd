"""Peers as stacks to load."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.bench.load_plan import Plan
from tests.bench.peers.catalogue import PEERS, Peer
from tests.bench.peers.core import BUNDLE_VARIABLE, CORE_VARIABLE
from tests.bench.scenarios.stacks import Stack
from tests.bench.servers import HOST, Address, running_server
from tests.bench.service_work import Work
from tests.redis_server import free_port


def peer_stacks(
    work: Work, venv: Path, names: Sequence[str], *, cores: Sequence[str], without: set[str]
) -> list[Stack]:
    """Return peers on each of the cores.

    Args:
        work: What they serve, and are asked.
        venv: Where they are installed.
        names: Of those that are wanted.
        cores: plain, ours.
        without: Requirements that could not be installed.
    """
    return [
        peer_stack(work, venv, peer, core)
        for core in cores
        for peer in PEERS
        if peer.name in names and not any(each.startswith(peer.needs) for each in without)
    ]


def peer_stack(work: Work, venv: Path, peer: Peer, core: str) -> Stack:
    """Return a peer on a core."""
    bodies = [peer.wrap(body) for body in work.bodies]

    def server(folder: Path) -> AbstractContextManager[Address]:
        port = free_port()
        return running_server(
            peer.command(venv, port, folder),
            folder / "log",
            (HOST, port),
            trial=Plan(HOST, port, bodies[:1], 1.0, 1),
            variables={
                **peer.variables,
                BUNDLE_VARIABLE: str(work.bundle),
                CORE_VARIABLE: core,
                "TMPDIR": str(folder),
            },
        )

    return Stack(peer.title, core, server, bodies, is_rival=True)
