"""How much is measured: all of it, or just enough to see that it runs."""

from typing import NamedTuple


class Scale(NamedTuple):
    """How much is measured.

    Attributes:
        n_items: Items in the catalog.
        catalogs: Items of the catalogs that are compared.
        n_bodies: Different requests.
        n_hits: Requests that are answered from the cache of a worker.
        rounds: Turns of every contestant.
        seconds: Of one load.
        warm_up: Seconds of load before what counts.
        connections: Of closed loops; the first and ``busy`` are in tables, all in the plot.
        busy: Connections of the load that throughput is measured with.
        batches: Batch sizes of the cores.
        steady: Seconds of an open loop.
        around: Seconds before and after a reload that belong to it.
    """

    n_items: int
    catalogs: tuple[int, ...]
    n_bodies: int
    n_hits: int
    rounds: int
    seconds: float
    warm_up: float
    connections: tuple[int, ...]
    busy: int
    batches: tuple[int, ...]
    steady: float
    around: float


FULL = Scale(
    n_items=20_000,
    catalogs=(10_000, 100_000, 1_000_000),
    n_bodies=2000,
    n_hits=64,
    rounds=5,
    seconds=3.0,
    warm_up=1.5,
    connections=(1, 4, 16, 64, 128),
    busy=64,
    batches=(1, 32),
    steady=10.0,
    around=2.0,
)
QUICK = Scale(
    n_items=500,
    catalogs=(300, 600),
    n_bodies=60,
    n_hits=10,
    rounds=1,
    seconds=0.4,
    warm_up=0.3,
    connections=(1, 8),
    busy=8,
    batches=(1, 8),
    steady=3.0,
    around=0.5,
)
