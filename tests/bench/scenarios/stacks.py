"""Every stack around the same bundle: ours, peers, a plain and a bare endpoint; two processes each.

Each is started for its turn and ended after it: some use the processor while nobody asks them.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.load_plan import Plan
from tests.bench.outcome import Outcome
from tests.bench.peers.core import BUNDLE_VARIABLE, CORE_VARIABLE, OURS, PLAIN, WORKERS
from tests.bench.plain_service import ANSWER_VARIABLE
from tests.bench.scenarios.scale import Scale
from tests.bench.servers import (
    Address,
    DidNotStartError,
    load,
    running_app,
    running_service,
)
from tests.bench.service_work import Work
from tests.redis_server import RedisServer

PLAIN_FASTAPI = "plain FastAPI, sync endpoint, pydantic"
BARE = "bare FastAPI endpoint"
CACHE_OFF = "OPAL Match, cache off"
HITS = "OPAL Match, cache hits in process"
REDIS_HITS = "OPAL Match, cache hits from Redis"

Starting = Callable[[Path], AbstractContextManager[Address]]
"""Starts a server, given a folder for its own files."""


@dataclass(frozen=True)
class Stack:
    """Something to load.

    Attributes:
        name: In tables.
        core: What computes: plain, ours, or nothing.
        server: Starts it.
        bodies: What it is asked.
        warm_up_requests: Sent before; 0: as many as there is time for.
        is_rival: Somebody else's: what our service is to be ahead of.
    """

    name: str
    core: str
    server: Starting
    bodies: list[str]
    warm_up_requests: int = 0
    is_rival: bool = False

    @property
    def title(self) -> str:
        """Name and core, which together are unique."""
        return f"{self.name}, our core" if self.is_rival and self.core == OURS else self.name


@dataclass
class Loads:
    """What the stacks have met.

    Attributes:
        outcomes: By stack and connections, one for each round.
        failed: Stacks that did not start, and why.
    """

    outcomes: dict[tuple[str, int], list[Outcome]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def of(self, name: str, connections: int) -> list[Outcome]:
        """Return the rounds of a stack; empty where it was not there in all of them."""
        return [] if name in self.failed else self.outcomes.get((name, connections), [])


def load_by_turns(stacks: list[Stack], scale: Scale, connections: tuple[int, ...]) -> Loads:
    """Start, load and end one stack after the other, round after round."""
    loads = Loads()
    for _ in range(scale.rounds):
        for stack in stacks:
            if stack.title in loads.failed:
                continue
            try:
                found = _one_turn(stack, scale, connections)
            except DidNotStartError as error:
                loads.failed[stack.title] = (str(error).strip().splitlines() or ["no reason"])[-1]
                continue
            for number, outcome in found.items():
                loads.outcomes.setdefault((stack.title, number), []).append(outcome)
    return loads


def _one_turn(stack: Stack, scale: Scale, connections: tuple[int, ...]) -> dict[int, Outcome]:
    with tempfile.TemporaryDirectory(prefix="stack") as folder, stack.server(Path(folder)) as at:
        warm_up(at, stack, scale)
        return {
            number: load(Plan(*at, stack.bodies, scale.seconds, number)) for number in connections
        }


def warm_up(address: Address, stack: Stack, scale: Scale) -> None:
    """Let a stack make what it makes at first: code paths, connections, and its caches.

    Several times on new connections: these reach different workers.
    """
    for _ in range(2 * WORKERS if stack.warm_up_requests else 1):
        load(
            Plan(
                *address,
                stack.bodies,
                10 * scale.warm_up if stack.warm_up_requests else scale.warm_up,
                scale.busy,
                requests=stack.warm_up_requests or None,
            )
        )


def own_stacks(work: Work) -> list[Stack]:
    """Return the service as it is measured, and the two endpoints beside it."""
    registry, bodies, hits = work.registry, work.bodies, work.hits
    plain = {BUNDLE_VARIABLE: str(work.bundle), CORE_VARIABLE: PLAIN}
    bare = {ANSWER_VARIABLE: str(work.answer)}

    def app(
        factory: str, variables: dict[str, str]
    ) -> Callable[[Path], AbstractContextManager[Address]]:
        return lambda folder: running_app(factory, folder / "log", workers=WORKERS, **variables)

    return [
        Stack(CACHE_OFF, OURS, service(registry, WORKERS), bodies),
        Stack(
            HITS,
            "",
            service(registry, WORKERS, cache_ttl=300),
            hits,
            warm_up_requests=4 * len(hits),
        ),
        Stack(
            REDIS_HITS, "", lambda _: _with_redis(registry), bodies, warm_up_requests=len(bodies)
        ),
        Stack(BARE, "", app("create_bare", bare), bodies),
        Stack(PLAIN_FASTAPI, PLAIN, app("create_plain", plain), bodies, is_rival=True),
    ]


def service(registry: Path, workers: int, *, cache_ttl: int = 0) -> Starting:
    """Return what starts the service without Redis."""
    return lambda _: running_service(registry, workers=workers, cache_ttl=cache_ttl)


@contextmanager
def _with_redis(registry: Path) -> Iterator[Address]:
    """Run the service on a Redis, without memory of its own: the hits come from Redis."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redis")))
        redis = stack.enter_context(RedisServer(folder))
        yield stack.enter_context(
            running_service(
                registry, workers=WORKERS, cache_ttl=300, cache_memory_mb=0, redis_url=redis.url
            )
        )
