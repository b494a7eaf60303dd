"""Kinds of index: recall@100, time per user, memory, beside Flat, hnswlib and ScaNN in one run.

    python tests/bench/bench_index.py [--dataset DATASET] [--sizes N …] [--quick] [--json]

The catalog has the structure of learned embeddings (tests/bench/learned_catalog.py), from a
prepared data set, or else from MovieLens 100K as the demo fetches it. hnswlib is installed by pip
where it is missing; what cannot be installed is left out. ScaNN stands there twice: as our kind
``scann``, and called directly, so that what our side of it costs is seen.

Every kind is tuned on half of the users and measured on the other half, by turns of 20 users, at
the fastest point that reaches each recall. Recall is over each interest's own top 100.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.bench.measuring import Row, Table, make_parser, show, summarise, use_one_thread
from tests.bench.prepared_log import prepare_log

if TYPE_CHECKING:
    from index.bundles.tuning import Interests, Point
    from model.arrays import Floats

SIZES, SIZES_QUICK = (20_000, 100_000, 1_000_000), (6000,)
K = 8
USERS, USERS_QUICK = 100, 10
RECALLS = (0.95, 0.98)
AT_A_TIME = 20  # users: each index works with the caches that it has filled itself
KINDS = ("ivf-sq", "ivf-sq8", "ivf-pq", "hnsw", "scann")
BUILD_THREADS = 2


class Contestant(NamedTuple):
    """An index to measure at one of its operating points."""

    kind: str
    promised: float
    point: "Point"
    operate_at: Callable[[dict[str, float]], None]
    search: Callable[["Floats", int], Any]
    bytes_per_item: float
    build_seconds: float


def main() -> None:
    """Measure all sizes and print them."""
    options = parse_arguments()
    use_one_thread()
    with tempfile.TemporaryDirectory() as folder:
        dataset = options.dataset or prepare_log(Path(folder), planted=options.quick)
        tables = [
            Table(
                f"{n_items:,} items, d = 64, k = {K}; milliseconds",
                measure(dataset, n_items, options),
            )
            for n_items in options.sizes or (SIZES_QUICK if options.quick else SIZES)
        ]
    show("Index", tables, threads=f"one thread, built with {BUILD_THREADS}", options=options)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser("Measure kinds of index, beside Flat, hnswlib and ScaNN.")
    parser.add_argument("--dataset", type=Path, help="what `python -m model prepare` wrote")
    parser.add_argument("--sizes", type=int, nargs="+", help="items in the catalog")
    parser.add_argument("--rivals", nargs="*", default=None, help="hnswlib, scann (default: both)")
    return parser.parse_args()


def measure(dataset: Path, n_items: int, options: argparse.Namespace) -> list[Row]:
    """Measure all contestants on one catalog."""
    import numpy as np

    from index.bundles.tuning import know_exactly
    from index.kinds.faiss_files import build_faiss_index
    from tests.bench.learned_catalog import make_catalog

    n_users = USERS_QUICK if options.quick else USERS
    vectors, users = make_catalog(dataset, n_items, k=K, n_users=2 * n_users)
    tuning, held_out = (
        know_exactly(vectors, users[:n_users]),
        know_exactly(vectors, users[n_users:]),
    )
    flat = build_faiss_index(vectors)
    contestants = [*our_kinds(vectors, tuning)]
    rivals = options.rivals if options.rivals is not None else ([] if options.quick else None)
    contestants += rival_kinds(vectors, tuning, rivals)
    seconds: list[list[float]] = [[] for _ in contestants]
    flat_seconds: list[float] = []
    found: list[list[Any]] = [[] for _ in contestants]
    for begin in range(0, n_users, AT_A_TIME):
        block = held_out.vectors[begin : begin + AT_A_TIME]
        flat_seconds += [timed(flat.search, user, 100)[0] for user in block]
        for number, contestant in enumerate(contestants):
            contestant.operate_at(contestant.point.parameters)
            for user in block:
                taken, result = timed(contestant.search, user, 100)
                seconds[number].append(taken)
                found[number].append(result.rows)
    base = summarise(flat_seconds)
    rows: list[Row] = [
        {
            "kind": "flat",
            "operating point": "",
            "recall@100": "1.0000",
            "median": base.median,
            "p99": base.p99,
            "ratio to flat": 1.0,
            "bytes/item": 4.0 * vectors.shape[1],
            "build s": 0.0,
        }
    ]
    for contestant, times, results in zip(contestants, seconds, found, strict=True):
        parameters = contestant.point.parameters.items()
        measured = summarise(times)
        rows.append(
            {
                "kind": f"{contestant.kind} ≥ {contestant.promised}",
                "operating point": " ".join(f"{name}={value:g}" for name, value in parameters),
                "recall@100": f"{recall_of(np.stack(results), vectors, held_out):.4f}",
                "median": measured.median,
                "p99": measured.p99,
                "ratio to flat": base.median / measured.median,
                "bytes/item": contestant.bytes_per_item,
                "build s": contestant.build_seconds,
            }
        )
    return rows


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Return the seconds that one call takes, and its result."""
    begun = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - begun, result


def our_kinds(vectors: "Floats", tuning: "Interests") -> Iterable[Contestant]:
    """Build and tune our kinds; one contestant for each recall that a kind reaches."""
    from importlib.util import find_spec

    from index.bundles.tuning import choose, explore
    from index.kinds.implementations import build_index

    for kind in KINDS:
        if kind == "scann" and find_spec("scann") is None:
            continue
        build = partial(build_index, vectors, kind=kind, threads=BUILD_THREADS)
        seconds, item_index = timed(build)
        with tempfile.TemporaryDirectory() as folder:
            item_index.save(Path(folder) / "index")
            size = item_index.bytes_per_item((Path(folder) / "index").stat().st_size)
        curve = explore(item_index, vectors, tuning, target=max(RECALLS))
        for recall in RECALLS:
            point = choose(curve, recall)
            if point is not None:
                yield Contestant(
                    kind, recall, point, item_index.operate_at, item_index.search, size, seconds
                )


def rival_kinds(
    vectors: "Floats", tuning: "Interests", names: list[str] | None
) -> Iterable[Contestant]:
    """Build and tune what others made."""
    from index.bundles.tuning import choose, measure_point
    from tests.bench.rival_indexes import RIVALS, install

    for name, make in RIVALS.items():
        library = install(name) if names is None or name in names else None
        if library is None:
            continue
        seconds, rival = timed(make, library, vectors, BUILD_THREADS)
        curve = []
        for settings in rival.settings():
            rival.operate_at(settings)
            curve.append(measure_point(rival, vectors, tuning, settings))
        for recall in RECALLS:
            point = choose(curve, recall)
            if point is not None:
                yield Contestant(
                    f"{name}, direct",
                    recall,
                    point,
                    rival.operate_at,
                    rival.search,
                    rival.bytes_per_item,
                    seconds,
                )


def recall_of(rows: Any, vectors: "Floats", truth: "Interests") -> float:
    """Share of each interest's exact top 100 among ``rows``; shape (u, k, 100), int64."""
    from index.bundles.tuning import count_hits

    users = zip(rows, truth.vectors, truth.cuts, strict=True)
    hits = sum(count_hits(found, user, cuts, vectors) for found, user, cuts in users)
    return hits / (truth.cuts.size * truth.top)


if __name__ == "__main__":
    main()
