"""Memory of one worker and of four on the same bundle: what they share is counted once.

    python tests/bench/bench_sharing.py [--items N] [--quick] [--json]

Real worker processes, after each has answered requests. PSS is the kernel's own count
(/proc/PID/smaps_rollup): a page that four processes map counts as a quarter in each of them. The
sum is over the workers; the processes that watch and fork them serve nothing and are a column of
their own.
"""

import argparse
import tempfile
from pathlib import Path

import httpx

from tests.bench.measuring import Row, Table, make_parser, show, use_one_thread
from tests.services import ServiceProcess, children_of

ITEMS, ITEMS_QUICK = 1_000_000, 6000
K, DIM = 8, 64
WORKERS = (1, 4)
REQUESTS, REQUESTS_QUICK = 200, 10
MEBIBYTE_IN_KIB = 1024


def main() -> None:
    """Measure and print."""
    options = parse_arguments()
    use_one_thread()
    n_items = options.items or (ITEMS_QUICK if options.quick else ITEMS)
    with tempfile.TemporaryDirectory() as folder:
        registry, size = publish(Path(folder), n_items)
        requests = REQUESTS_QUICK if options.quick else REQUESTS
        rows = [measure(registry, workers, requests) for workers in WORKERS]
    for row in rows:
        row["ratio"] = float(row["workers' PSS"]) / float(rows[0]["workers' PSS"])
    title = f"{n_items:,} items, d = {DIM}, k = {K}; the bundle has {size:,.0f} MiB; MiB"
    show("Sharing", [Table(title, rows)], threads="one thread a worker", options=options)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser("Measure what worker processes share of a bundle.")
    parser.add_argument("--items", type=int, help="items in the catalog")
    return parser.parse_args()


def publish(folder: Path, n_items: int) -> tuple[Path, float]:
    """Build a bundle and publish it; return the registry, and the bundle's size in MiB."""
    from index.bundles.build import build_bundle
    from index.registry.registry import Registry
    from tests.bundles import write_run

    run = write_run(folder / "run", n_items=n_items, k=K, dim=DIM, stage="hard", max_len=50)
    bundle = build_bundle(run, folder / "bundle", kind="ivf-sq", target_recall=0.9, threads=2).path
    Registry(folder / "registry").publish(bundle)
    size = sum(file.stat().st_size for file in bundle.iterdir()) / (1 << 20)
    return folder / "registry", size


def measure(registry: Path, workers: int, requests: int) -> Row:
    """Start workers, let each of them answer, and read what they take."""
    from tests.bundles import item_id

    log = registry.parent / f"service-{workers}.log"
    with ServiceProcess(registry, log, workers=workers, cache_ttl=0) as service:
        for number in range(requests * workers):
            history = [item_id(row) for row in range(number, number + 50)]
            # A connection of its own each time: the kernel gives it to any worker.
            answer = httpx.post(
                f"{service.url}/match", json={"user_id": "u", "interactions": history}, timeout=30
            )
            answer.raise_for_status()
        used = [memory_of(pid) for pid in sorted(service.worker_pids())]
        others = [service.process.pid, *children_of(service.process.pid)]
        parents = sum(memory_of(pid)["Pss"] for pid in others)
    return {
        "workers": workers,
        "workers' PSS": sum(each["Pss"] for each in used),
        "private to each": sum(each["Private"] for each in used) / len(used),
        "RSS of each": sum(each["Rss"] for each in used) / len(used),
        "parents' PSS": parents,
    }


def memory_of(pid: int) -> dict[str, float]:
    """Return a process's PSS, RSS and private memory, in MiB."""
    found: dict[str, float] = {"Private": 0.0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, kib = line.split()[:2]
        name = name.removesuffix(":")
        if name.startswith("Private_"):
            found["Private"] += float(kib) / MEBIBYTE_IN_KIB
        found[name] = float(kib) / MEBIBYTE_IN_KIB
    return found


if __name__ == "__main__":
    main()
