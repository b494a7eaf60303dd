"""Catalogs of several sizes, each with the index that ``auto`` chooses for it; the cache off."""

from tests.bench.findings import LESS_THAN, Findings, Promise, load_row, ratios
from tests.bench.measuring import Row, Table
from tests.bench.peers.core import OURS, WORKERS
from tests.bench.scenarios.cores import index_of, measure_recall
from tests.bench.scenarios.scale import Scale
from tests.bench.scenarios.stacks import Stack, load_by_turns, service
from tests.bench.service_work import Work, prepare_work

WANTED = 3.0


def compare_catalogs(work: Work, scale: Scale) -> Findings:
    """Load the service on one catalog after the other, by turns."""
    works = {
        n_items: prepare_work(
            work.folder / str(n_items),
            work.dataset,
            n_items=n_items,
            n_bodies=scale.n_bodies,
            n_hits=scale.n_hits,
        )
        for n_items in scale.catalogs
    }
    stacks = [
        Stack(str(n_items), OURS, service(each.registry, WORKERS), each.bodies)
        for n_items, each in works.items()
    ]
    loads = load_by_turns(stacks, scale, (scale.busy,))
    rows: list[Row] = [
        {
            "items": n_items,
            "index": index_of(each),
            "recall@100": measure_recall(each, (OURS,))[OURS],
            **load_row(loads.of(str(n_items), scale.busy)),
        }
        for n_items, each in works.items()
    ]
    smallest, largest = (
        [outcome.speed for outcome in loads.of(str(n_items), scale.busy)]
        for n_items in (scale.catalogs[0], scale.catalogs[-1])
    )
    what = f"requests/s at {scale.catalogs[0]:,} items to those at {scale.catalogs[-1]:,}"
    title = f"Catalogs, cache off, {WORKERS} workers, {scale.busy} connections; milliseconds"
    return Findings(
        [Table(title, rows)], [Promise(what, ratios(smallest, largest), LESS_THAN, WANTED)]
    )
