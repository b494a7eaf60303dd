"""The service over HTTP, closed loop, against a plain and a bare endpoint in the same run.

    python tests/bench/bench_service.py [--quick] [--json]

Every server answers the same requests from the same bundle on the same uvicorn; the load comes
from one more process on the same machine, which takes its share of the cores. With the cache off
no request is repeated until all have been sent; the hits are a few requests, asked once before.
The bare endpoint returns the bytes of one of the service's answers.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

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

K = 8
MOST_REQUESTS = 200_000
WARM_UP_SECONDS = 30.0  # at most


class Size(NamedTuple):
    """How much is measured."""

    n_items: int
    workers: tuple[int, ...]
    connections: tuple[int, ...]
    seconds: float
    n_bodies: int
    n_hits: int


FULL = Size(20_000, (1, 2), (1, 16), 4.0, 2000, 64)
QUICK = Size(500, (1,), (4,), 0.3, 50, 10)


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
    with tempfile.TemporaryDirectory() as folder:
        rows = add_ratios([row for each in contestants(Path(folder), size) for row in each])
    title = (
        f"{size.n_items} items, k = {K}, L = 50, d = 64, top 100, Flat; {size.seconds:g} s each, "
        "milliseconds; ratio = requests/s against plain with as many workers and connections"
    )
    threads = "one thread per worker, load from one more process"
    show("Service", [Table(title, rows)], threads=threads, options=options)


def contestants(folder: Path, size: Size) -> Iterator[list[Row]]:
    """Measure every server with every number of workers; give the rows of each."""
    from index.registry import Registry
    from tests.bench.plain_service import ANSWER_VARIABLE, BUNDLE_VARIABLE
    from tests.bench.synthetic import TOP_K, draw_histories, make_bundle, to_ids

    bundle = make_bundle(folder, n_items=size.n_items, k=K)
    Registry(folder / "registry").publish(bundle)
    histories = draw_histories(size.n_bodies, n_items=size.n_items, k=K)
    bodies = [json.dumps({"interactions": to_ids(rows), "top_k": TOP_K}) for rows in histories]
    hits = bodies[: size.n_hits]
    answer = folder / "answer.json"
    answer.write_bytes(answer_of(bundle, to_ids(histories[0])))
    bare, plain = {ANSWER_VARIABLE: str(answer)}, {BUNDLE_VARIABLE: str(bundle)}
    registry, log = folder / "registry", folder / "app.log"
    for workers in size.workers:
        for contestant in (
            Contestant("plain", running_app("create_plain", log, workers=workers, **plain), bodies),
            Contestant("bare", running_app("create_bare", log, workers=workers, **bare), bodies),
            Contestant(
                "ours, cache off",
                running_service(registry, workers=workers, cache=False),
                bodies,
            ),
            Contestant(
                "ours, cache hits", running_service(registry, workers=workers, cache=True), hits
            ),
        ):
            yield measure(contestant, workers, size)


def answer_of(bundle: Path, item_ids: list[str]) -> bytes:
    """Return an answer as the service sends it, as bytes."""
    import orjson

    from index.bundle import open_bundle
    from service.matching import match
    from service.query import Query

    answer = match(open_bundle(bundle), Query(history=tuple(item_ids))).answer
    return orjson.dumps({"request_id": "0" * 32, "source": "model", **answer})


def measure(contestant: Contestant, workers: int, size: Size) -> list[Row]:
    """Start a server and load it; return one row for each number of connections."""
    rows: list[Row] = []
    bodies = contestant.bodies
    with contestant.server as address:
        # New connections reach different workers: each of them gets to fill its own cache.
        for _ in range(2 * workers):
            load(
                address,
                bodies,
                connections=8,
                seconds=WARM_UP_SECONDS,
                requests=2 * size.n_hits,
            )
        for connections in size.connections:
            outcome = load(
                address,
                bodies,
                connections=connections,
                seconds=size.seconds,
                requests=MOST_REQUESTS,
            )
            times = summarise(outcome.latencies) if outcome.latencies else Times(0.0, 0.0)
            rows.append(
                {
                    "server": contestant.name,
                    "workers": workers,
                    "connections": connections,
                    "requests/s": len(outcome.latencies) / outcome.seconds,
                    "p50": times.median,
                    "p99": times.p99,
                    "errors": outcome.errors,
                    "from cache": outcome.cached / max(1, len(outcome.latencies)),
                    "answer bytes": outcome.answer_bytes,
                }
            )
    return rows


def add_ratios(rows: list[Row]) -> list[Row]:
    """Put each row's speed beside the plain server's with as many workers and connections.

    Raises:
        ValueError: The plain server answered nothing.
    """
    plain = {
        (row["workers"], row["connections"]): float(row["requests/s"])
        for row in rows
        if row["server"] == "plain"
    }
    if not all(plain.values()):
        raise ValueError("the plain server answered nothing, so there is nothing to compare with")
    return [
        {
            **row,
            "ratio to plain": float(row["requests/s"]) / plain[row["workers"], row["connections"]],
        }
        for row in rows
    ]


if __name__ == "__main__":
    main()
