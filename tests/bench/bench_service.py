"""The service over HTTP, closed loop, against a plain and a bare endpoint in the same run.

    python tests/bench/bench_service.py [--quick] [--json]

Every server answers the same requests from the same bundle on the same uvicorn; the load comes
from one more process on the same machine, which takes its share of the cores. With the cache off
many different requests are sent in turn; the hits are a few requests, all asked before.
The bare endpoint returns the bytes of one of the service's answers.

The servers run side by side and are loaded one at a time, by turns in several rounds, so that a
busy moment of the machine meets all of them; the spread of the rounds' ratios tells how far to
trust a ratio.
"""

import statistics
import tempfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.bench.load import Outcome
from tests.bench.measuring import (
    Row,
    Table,
    Times,
    parse_options,
    show,
    summarise,
    use_one_thread,
)
from tests.bench.servers import Address, load, running_app, running_service
from tests.bench.service_work import K, Work, prepare_work

PLAIN = "plain"
MOST_REQUESTS = 200_000
WARM_UP_SECONDS = 30.0  # at most


class Size(NamedTuple):
    """How much is measured; ``seconds`` is that of one load in one round."""

    n_items: int
    workers: tuple[int, ...]
    connections: tuple[int, ...]
    rounds: int
    seconds: float
    n_bodies: int
    n_hits: int


FULL = Size(20_000, (1, 2), (1, 16), 5, 1.0, 2000, 64)
QUICK = Size(500, (1,), (4,), 1, 0.3, 50, 10)


class Contestant(NamedTuple):
    """A server to start, and what to ask it."""

    name: str
    server: AbstractContextManager[Address]
    bodies: list[str]


def main() -> None:
    """Start one server after the other, load each, print them all."""
    options = parse_options("Measure the service against a plain and a bare FastAPI endpoint.")
    use_one_thread()
    size = QUICK if options.quick else FULL
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        work = prepare_work(
            Path(folder), n_items=size.n_items, n_bodies=size.n_bodies, n_hits=size.n_hits
        )
        for workers in size.workers:
            rows += measure(contestants(work, workers), workers, size)
    title = (
        f"{size.n_items:,} items, k = {K}, L = 50, d = 64, top 100, Flat; {size.rounds} rounds of "
        f"{size.seconds:g} s; milliseconds; ratio = requests/s against plain with as many workers "
        "and connections, median of the rounds (least to largest)"
    )
    threads = "one thread per worker, load from one more process"
    show("Service", [Table(title, rows)], threads=threads, options=options)


def contestants(work: Work, workers: int) -> list[Contestant]:
    """Return the servers to start, with so many workers each."""
    from tests.bench.plain_service import ANSWER_VARIABLE, BUNDLE_VARIABLE

    folder, bodies = work.folder, work.bodies
    plain = {BUNDLE_VARIABLE: str(work.bundle)}
    bare = {ANSWER_VARIABLE: str(folder / "answer.json")}
    registry = folder / "registry"
    plain_log, bare_log = folder / f"plain-{workers}.log", folder / f"bare-{workers}.log"
    return [
        Contestant(PLAIN, running_app("create_plain", plain_log, workers=workers, **plain), bodies),
        Contestant("bare", running_app("create_bare", bare_log, workers=workers, **bare), bodies),
        Contestant(
            "ours, cache off", running_service(registry, workers=workers, cache=False), bodies
        ),
        Contestant(
            "ours, cache hits", running_service(registry, workers=workers, cache=True), work.hits
        ),
    ]


def measure(contestants: list[Contestant], workers: int, size: Size) -> list[Row]:
    """Start the servers and load them by turns; return one row for each and each load."""
    outcomes: dict[tuple[str, int], list[Outcome]] = {}
    with ExitStack() as running:
        addresses = {each.name: running.enter_context(each.server) for each in contestants}
        for each in contestants:
            warm_up(addresses[each.name], each.bodies, 2 * workers, 2 * size.n_hits)
        for _ in range(size.rounds):
            for connections in size.connections:
                for each in contestants:
                    outcome = load(
                        addresses[each.name],
                        each.bodies,
                        connections=connections,
                        seconds=size.seconds,
                        requests=MOST_REQUESTS,
                    )
                    outcomes.setdefault((each.name, connections), []).append(outcome)
    return [
        to_row(name, workers, connections, rounds, outcomes[PLAIN, connections])
        for (name, connections), rounds in outcomes.items()
    ]


def warm_up(address: Address, bodies: list[str], loads: int, requests: int) -> None:
    """Send some requests, each time on new connections.

    These reach different workers, and each worker has a cache of its own to fill.
    """
    for _ in range(loads):
        load(address, bodies, connections=8, seconds=WARM_UP_SECONDS, requests=requests)


def to_row(
    name: str, workers: int, connections: int, rounds: list[Outcome], plain: list[Outcome]
) -> Row:
    """Put the rounds of one server together; the ratios are between loads of the same round.

    Raises:
        ValueError: The plain server answered nothing in a round.
    """
    if not all(outcome.latencies for outcome in plain):
        raise ValueError("the plain server answered nothing, so there is nothing to compare with")
    latencies = [value for outcome in rounds for value in outcome.latencies]
    times = summarise(latencies) if latencies else Times(0.0, 0.0)
    ratios = [speed(one) / speed(other) for one, other in zip(rounds, plain, strict=True)]
    return {
        "server": name,
        "workers": workers,
        "connections": connections,
        "requests/s": statistics.median(speed(outcome) for outcome in rounds),
        "p50": times.median,
        "p99": times.p99,
        "errors": sum(outcome.errors for outcome in rounds),
        "from cache": sum(outcome.cached for outcome in rounds) / max(1, len(latencies)),
        "answer bytes": rounds[-1].answer_bytes,
        "ratio to plain": statistics.median(ratios),
        "least": min(ratios),
        "largest": max(ratios),
    }


def speed(outcome: Outcome) -> float:
    """Return answers per second."""
    return len(outcome.latencies) / outcome.seconds


if __name__ == "__main__":
    main()
