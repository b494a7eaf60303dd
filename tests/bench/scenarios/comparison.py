"""All stacks in one run: table, curves, and what is promised of their ratios."""

from tests.bench.core_process import CoreProcesses
from tests.bench.findings import (
    AT_LEAST,
    AT_MOST,
    CurvePoint,
    Findings,
    Promise,
    load_row,
    milliseconds,
    ratios,
    speed,
)
from tests.bench.measuring import Row, Table
from tests.bench.outcome import percentile
from tests.bench.peers.core import OURS, WORKERS
from tests.bench.scenarios.scale import Scale
from tests.bench.scenarios.stacks import (
    BARE,
    CACHE_OFF,
    HITS,
    PLAIN_FASTAPI,
    REDIS_HITS,
    Loads,
    Stack,
    load_by_turns,
)
from tests.bench.service_work import Work


def compare_stacks(work: Work, scale: Scale, stacks: list[Stack]) -> Findings:
    """Load all stacks by turns, and our core without HTTP between them."""
    loads, core_speeds = Loads(), []
    with CoreProcesses(OURS, work.bundle, work.bodies, n=WORKERS) as core:
        for _ in range(scale.rounds):
            core_speeds.append(core.speed(batch=scale.batches[-1], seconds=scale.seconds))
            left = [stack for stack in stacks if stack.title not in loads.failed]
            found = load_by_turns(left, scale._replace(rounds=1), scale.connections)
            loads.failed |= found.failed
            for key, outcomes in found.outcomes.items():
                loads.outcomes.setdefault(key, []).extend(outcomes)
    there = [stack for stack in stacks if stack.title not in loads.failed]
    table = Table(
        f"Stacks, {WORKERS} processes each; {scale.rounds} rounds of {scale.seconds:g} s a load; "
        "milliseconds",
        [_to_row(stack, number, loads, scale) for stack in there for number in _shown(scale)],
    )
    return Findings(
        [table],
        promises(there, loads, scale, core_speeds),
        {stack.title: _curve(stack, loads, scale) for stack in there},
        [f"{name} did not start: {reason}" for name, reason in loads.failed.items()],
    )


def promises(
    stacks: list[Stack], loads: Loads, scale: Scale, core_speeds: list[float]
) -> list[Promise]:
    """Compare round by round; what was not measured promises nothing."""
    busy, first = scale.busy, scale.connections[0]

    def speeds(name: str) -> list[float]:
        return [outcome.speed for outcome in loads.of(name, busy)]

    def p50s(name: str) -> list[float]:
        return [percentile(outcome.latencies, 0.5) for outcome in loads.of(name, first)]

    ours, plain, bare = speeds(CACHE_OFF), speeds(PLAIN_FASTAPI), speeds(BARE)
    found = []
    if ours:
        found.append(
            Promise("cache off to our core without HTTP", ratios(ours, core_speeds), AT_LEAST, 0.85)
        )
        found += _against_peers(stacks, loads, scale)
    if ours and plain:
        found += [
            Promise("cache off to plain FastAPI", ratios(ours, plain), AT_LEAST, 5.0),
            Promise(
                "p50 at one connection to plain FastAPI's",
                ratios(p50s(CACHE_OFF), p50s(PLAIN_FASTAPI)),
                AT_MOST,
                0.5,
            ),
        ]
    for name, wanted in ((HITS, 0.6), (REDIS_HITS, 0.3)):
        if bare and speeds(name):
            what = f"{name.removeprefix('OPAL Match, ')} to the bare endpoint"
            found.append(Promise(what, ratios(speeds(name), bare), AT_LEAST, wanted))
    return found


def _against_peers(stacks: list[Stack], loads: Loads, scale: Scale) -> list[Promise]:
    """Compare with the best peer, on the plain core and on ours."""
    ours, found = loads.of(CACHE_OFF, scale.busy), []
    for core, words, wanted in (("plain", "", 1.8), (OURS, " on our core", 1.0)):
        peers = [
            stack.title
            for stack in stacks
            if stack.is_rival and stack.core == core and stack.name != PLAIN_FASTAPI
        ]
        if not peers:
            continue
        best = max(peers, key=lambda name: speed(loads.of(name, scale.busy)))
        theirs = loads.of(best, scale.busy)
        found += [
            Promise(
                f"cache off to the best peer{words} ({best})",
                ratios([each.speed for each in ours], [each.speed for each in theirs]),
                AT_LEAST,
                wanted,
            ),
            Promise(
                f"p99 of cache off to that of the best peer{words}",
                ratios(
                    [percentile(each.latencies, 0.99) for each in ours],
                    [percentile(each.latencies, 0.99) for each in theirs],
                ),
                AT_MOST,
                1.0,
            ),
        ]
    return found


def _shown(scale: Scale) -> list[int]:
    return [scale.connections[0], scale.busy]


def _to_row(stack: Stack, connections: int, loads: Loads, scale: Scale) -> Row:
    outcomes = loads.of(stack.title, connections)
    ours = loads.of(CACHE_OFF, connections)
    to_ours = ratios([one.speed for one in outcomes], [one.speed for one in ours]) if ours else []
    return {
        "stack": stack.title,
        "core": stack.core or "none",
        "connections": connections,
        **load_row(outcomes),
        "answer bytes": outcomes[-1].answer_bytes,
        "to cache off": sorted(to_ours)[len(to_ours) // 2] if to_ours else "",
    }


def _curve(stack: Stack, loads: Loads, scale: Scale) -> list[CurvePoint]:
    return [
        CurvePoint(speed(found), milliseconds(found, 0.5), milliseconds(found, 0.99))
        for number in scale.connections
        if (found := loads.of(stack.title, number))
    ]
