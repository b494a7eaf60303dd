"""Freshness: seconds to add items to a bundle and to publish it, beside building it anew.

    python tests/bench/bench_renewal.py [--items N] [--new N] [--quick] [--json]

Half of the new items name items that they are like, half have a category alone. Building anew
stands for what it would take without this: the same catalog from a run, without the training.
"""

import argparse
import tempfile
from pathlib import Path

import polars as pl

from tests.bench.measuring import Row, Table, make_parser, seconds_of, show

ITEMS, ITEMS_QUICK = 1_000_000, 6000
NEW, NEW_QUICK = 10_000, 100
K, DIM = 8, 64
THREADS = 2


def main() -> None:
    """Measure and print."""
    options = parse_arguments()
    n_items = options.items or (ITEMS_QUICK if options.quick else ITEMS)
    n_new = options.new or (NEW_QUICK if options.quick else NEW)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), n_items, n_new)
    title = f"{n_new:,} items onto {n_items:,}, d = {DIM}, k = {K}, kind ivf-sq"
    show("Renewal", [Table(title, rows)], threads=f"{THREADS} threads", options=options)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser("Measure how long it takes until new items can be found.")
    parser.add_argument("--items", type=int, help="items in the catalog")
    parser.add_argument("--new", type=int, help="items to add")
    return parser.parse_args()


def measure(folder: Path, n_items: int, n_new: int) -> list[Row]:
    """Build a bundle, add items to it, remove some, and publish."""
    from index.bundles.build import build_bundle
    from index.registry.registry import Registry
    from index.renewal.renewal import add_items, remove_items
    from tests.bundles import item_id, write_run

    run = write_run(folder / "run", n_items=n_items, k=K, dim=DIM, max_len=50)
    table = write_table(folder / "new.parquet", n_items, n_new)
    base, added, removed = folder / "base", folder / "added", folder / "removed"
    registry = Registry(folder / "registry")
    gone = [item_id(row) for row in range(n_new)]
    steps = {
        "build anew": lambda: build_bundle(
            run, base, kind="ivf-sq", target_recall=0.9, threads=THREADS
        ),
        "add": lambda: add_items(base, table, added),
        "remove as many": lambda: remove_items(base, gone, removed),
        "publish": lambda: registry.publish(added),
    }
    return [{"step": name, "seconds": seconds_of(work)} for name, work in steps.items()]


def write_table(path: Path, n_items: int, n_new: int) -> Path:
    """Write the table of new items."""
    from tests.bundles import item_id

    half = n_new // 2
    pl.DataFrame(
        {
            "item_id": [f"new-{number}" for number in range(n_new)],
            "title": [f"New {number}" for number in range(n_new)],
            "similar_to": [
                [item_id((7 * number) % n_items), item_id((7 * number + K) % n_items)]
                if number < half
                else []
                for number in range(n_new)
            ],
            "category": [[f"genre-{number % K}"] for number in range(n_new)],
        }
    ).write_parquet(path)
    return path


if __name__ == "__main__":
    main()
