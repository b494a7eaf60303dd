"""What independent callers see: half of the most, a reload under it, and three times the most."""

import time
from dataclasses import replace
from pathlib import Path

import httpx

from tests.bench.findings import (
    AT_LEAST,
    AT_MOST,
    Findings,
    Promise,
    load_row,
    ratios,
)
from tests.bench.load_plan import Plan
from tests.bench.measuring import Row, Table
from tests.bench.outcome import Outcome, percentile
from tests.bench.peers.core import WORKERS
from tests.bench.scenarios.scale import Scale
from tests.bench.servers import Address, load, running_service, start_load
from tests.bench.service_work import Work

CONNECTIONS = 256
OVERLOAD_CONNECTIONS = 1024
DEADLINE_MS = 500
OVERLOAD = 3.0
_RELOAD_SECONDS = 30.0


def measure_open_loop(work: Work, scale: Scale) -> Findings:
    """Load one service with the cache off, round after round."""
    from index.registry.registry import Registry

    registry = Registry(work.registry)
    versions = [registry.current_or_none() or "", registry.publish(_another_bundle(work, scale))]
    most, half, reloads, overloads = [], [], [], []
    with running_service(work.registry, workers=WORKERS, cache_ttl=0) as at:
        load(Plan(*at, work.bodies, scale.warm_up, scale.busy))
        for number in range(scale.rounds):
            most.append(load(Plan(*at, work.bodies, scale.seconds, scale.busy)))
            rate = most[-1].speed / 2
            half.append(load(_open(at, work, scale.steady, rate, seed=number)))
            reloads.append(_reload(at, work, scale, rate, versions[number % 2]))
            plan = _open(at, work, scale.seconds, OVERLOAD * most[-1].speed, seed=number)
            overloads.append(load(_impatient(plan)))
    return _findings(scale, most, half, reloads, overloads)


def _open(address: Address, work: Work, seconds: float, rate: float, *, seed: int) -> Plan:
    return Plan(*address, work.bodies, seconds, CONNECTIONS, rate=rate, seed=seed)


def _impatient(plan: Plan) -> Plan:
    """Return a plan that says its deadline, and need not open connections amid the overload."""
    headers = {"X-Timeout-Ms": str(DEADLINE_MS)}
    return replace(plan, headers=headers, connections=OVERLOAD_CONNECTIONS)


def _another_bundle(work: Work, scale: Scale) -> Path:
    """Build a bundle of the same items with other weights of the GRU."""
    from tests.bench.learned_bundle import make_learned_bundle
    from tests.bench.service_work import K

    made = make_learned_bundle(
        work.folder, work.dataset, n_items=scale.n_items, k=K, n_histories=1, seed=1
    )
    return made.path


def _reload(
    address: Address, work: Work, scale: Scale, rate: float, version: str
) -> tuple[Outcome, Outcome]:
    """Activate a version under load; return what was met before, and around it."""
    from index.registry.registry import Registry

    around = scale.around
    begun = time.perf_counter()
    with start_load(_open(address, work, scale.steady + 2 * around, rate, seed=7)) as loading:
        time.sleep(scale.steady)
        at = time.perf_counter() - begun
        Registry(work.registry).activate(version)
        outcome = loading.outcome()
    _require_live(address, version)
    # The generator's clock starts a little later than ours, with its process.
    return outcome.between(0.0, at - around), outcome.between(at - around, at + 2 * around)


def _require_live(address: Address, version: str) -> None:
    """Wait until the service serves a version: else the load met no reload.

    Raises:
        RuntimeError: It does not.
    """
    deadline = time.monotonic() + _RELOAD_SECONDS
    while time.monotonic() < deadline:
        ready = httpx.get(f"http://{address[0]}:{address[1]}/readyz").json()
        if ready["bundle_version"] == version:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{version} was activated, but is not served")


def goodput(outcome: Outcome) -> float:
    """Return the answers with status 200 that came within the deadline, per second."""
    return sum(each <= DEADLINE_MS / 1e3 for each in outcome.latencies) / outcome.seconds


def _findings(
    scale: Scale,
    most: list[Outcome],
    half: list[Outcome],
    reloads: list[tuple[Outcome, Outcome]],
    overloads: list[Outcome],
) -> Findings:
    before, around = ([pair[place] for pair in reloads] for place in (0, 1))

    def percentiles(outcomes: list[Outcome], share: float) -> list[float]:
        return [percentile(each.latencies, share) for each in outcomes]

    loads: list[tuple[str, list[Outcome]]] = [
        (f"closed loop, {scale.busy} connections: the most", most),
        ("open loop at half of it", half),
        ("the same, before a reload", before),
        (f"the same, {scale.around:g} s before to {2 * scale.around:g} s after a reload", around),
        (f"open loop at {OVERLOAD:g} × the most, deadline {DEADLINE_MS} ms", overloads),
    ]
    rows: list[Row] = [
        {
            "load": name,
            **load_row(outcomes),
            "sent late": sum(each.late for each in outcomes),
        }
        for name, outcomes in loads
    ]
    promises = [
        Promise(
            "p99 to p50 at half of the most",
            ratios(percentiles(half, 0.99), percentiles(half, 0.5)),
            AT_MOST,
            4.0,
        ),
        Promise(
            "p99 around a reload to before it",
            ratios(percentiles(around, 0.99), percentiles(before, 0.99)),
            AT_MOST,
            2.0,
        ),
        Promise("failures around a reload", [float(each.errors) for each in around], AT_MOST, 0.0),
        Promise(
            f"goodput at {OVERLOAD:g} × the most, to the most",
            ratios([goodput(each) for each in overloads], [each.speed for each in most]),
            AT_LEAST,
            0.9,
        ),
    ]
    title = (
        f"Loads, cache off, {WORKERS} workers; Poisson arrivals, latency from the moment that a "
        "request was due; milliseconds"
    )
    return Findings([Table(title, rows)], promises)
