"""The cores without HTTP: ours and the plain one, alone and two processes side by side."""

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.bench.core_process import CoreProcesses
from tests.bench.findings import AT_LEAST, Findings, Promise, ratios
from tests.bench.measuring import Row, Table
from tests.bench.peers.core import OURS, PLAIN
from tests.bench.scenarios.scale import Scale
from tests.bench.service_work import K, Work

if TYPE_CHECKING:
    from index.bundles.bundle import Bundle

WANTED = 2.0
MEASURED_USERS = 100
TOP_K = 100


def measure_cores(work: Work, scale: Scale) -> Findings:
    """Let the cores compute by turns."""
    speeds: dict[tuple[str, int, int], list[float]] = {}
    with ExitStack() as stack:
        processes = {
            (core, n): stack.enter_context(CoreProcesses(core, work.bundle, work.bodies, n=n))
            for n in (1, 2)
            for core in (OURS, PLAIN)
        }
        for _ in range(scale.rounds):
            for batch in scale.batches:
                for (core, n), running in processes.items():
                    found = running.speed(batch=batch, seconds=scale.seconds)
                    speeds.setdefault((core, n, batch), []).append(found)
    recalls = measure_recall(work, (OURS, PLAIN))
    rows: list[Row] = [
        {
            "core": core,
            "processes": n,
            "batch": batch,
            "users/s": statistics.median(values),
            "ratio to plain": statistics.median(ratios(values, speeds[PLAIN, n, batch])),
            "recall@100": recalls[core],
        }
        for (core, n, batch), values in speeds.items()
    ]
    promises = [
        Promise(
            f"our core to the plain one, batch {batch}",
            ratios(speeds[OURS, 1, batch], speeds[PLAIN, 1, batch]),
            AT_LEAST,
            WANTED,
        )
        for batch in scale.batches
    ]
    title = (
        f"Cores without HTTP, each answer to the bytes of its JSON; {describe(work, scale.n_items)}"
    )
    return Findings([Table(title, rows)], promises)


def describe(work: Work, n_items: int) -> str:
    """Say what is served."""
    return f"{n_items:,} items, k = {K}, L = 50, d = 64, top 100; our index: {index_of(work)}"


def index_of(work: Work) -> str:
    """Return the kind of the bundle's index and its operating point."""
    from index.bundles.manifest import read_manifest

    index = read_manifest(work.bundle).index
    point = ", ".join(f"{name}={value:g}" for name, value in index.parameters.items())
    return f"{index.kind}{f' ({point})' if point else ''}"


def measure_recall(work: Work, cores: Sequence[str]) -> dict[str, float]:
    """Return the share of the exact top 100 in the answers of each core."""
    import orjson

    from index.bundles.bundle import open_bundle
    from service.api.query import Query
    from tests.bench.our_core import answers
    from tests.bench.plain_core import PlainCore

    bundle = open_bundle(work.bundle)
    requests = [orjson.loads(body) for body in work.bodies[:MEASURED_USERS]]
    histories = [each["interactions"] for each in requests]
    exact = exact_ids(bundle, histories, TOP_K)
    found = {}
    if OURS in cores:
        queries = [Query(history=tuple(each), top_k=TOP_K) for each in histories]
        found[OURS] = [orjson.loads(each) for each in answers(bundle, queries)]
    if PLAIN in cores:
        found[PLAIN] = PlainCore(work.bundle).answers(histories, TOP_K)
    return {
        core: statistics.mean(
            len({each["item_id"] for each in answer["candidates"]} & truth) / len(truth)
            for answer, truth in zip(answered, exact, strict=True)
        )
        for core, answered in found.items()
    }


def exact_ids(bundle: "Bundle", histories: Sequence[list[str]], top_k: int) -> list[set[str]]:
    """Return the best items of each user by all scores in double precision."""
    import numpy as np

    vectors = bundle.encoder.item_vectors.astype(np.float64)
    found = []
    for history in histories:
        rows = bundle.catalog.rows_of(history)
        interests = bundle.encoder.encode(rows[rows >= 0]).vectors
        scores = (vectors @ interests.T.astype(np.float64)).max(axis=1)
        scores[rows[rows >= 0]] = -np.inf
        best = np.argpartition(-scores, top_k - 1)[:top_k]
        found.append(set(bundle.catalog.ids_of(best)))
    return found
