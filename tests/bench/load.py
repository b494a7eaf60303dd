"""Closed-loop load over HTTP/1.1 from a process of its own: a plan on stdin, results on stdout.

Each connection sends its next request when the answer to the last one is there. Plain streams: a
client library would take more of the machine than the server that is measured.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import uvloop

GRACE_SECONDS = 10.0
"""How long an answer may take after the load has ended, before it counts as an error."""

FROM_CACHE = b'"source":"cache"'
"""Stands at the head of the service's answers; tells whether a load met what it was to measure."""


@dataclass
class Outcome:
    """What a load met.

    Attributes:
        seconds: How long it lasted.
        latencies: Of the answers with status 200, in seconds.
        errors: Other answers, broken connections and answers that did not come.
        answer_bytes: Length of the last body.
        cached: Answers that say that they come from a cache.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    answer_bytes: int = 0
    cached: int = 0


def run(plan: dict[str, Any]) -> Outcome:
    """Load a server.

    Args:
        plan: ``host``, ``port``, ``path``, ``bodies`` (sent in turn), ``connections``,
            ``seconds``, and ``requests``: how many at most.
    """
    return uvloop.run(_load(plan))


async def _load(plan: dict[str, Any]) -> Outcome:
    outcome = Outcome()
    requests = [_request(plan, body.encode()) for body in plan["bodies"]]
    # One counter for all connections: the bodies go out in turn, whoever sends them.
    numbers = iter(range(plan["requests"]))
    begun = time.perf_counter()
    end = begun + plan["seconds"]
    await asyncio.gather(
        *(_ask(plan, requests, numbers, end, outcome) for _ in range(plan["connections"]))
    )
    outcome.seconds = time.perf_counter() - begun
    return outcome


async def _ask(
    plan: dict[str, Any], requests: list[bytes], numbers: Any, end: float, outcome: Outcome
) -> None:
    """Send one request after the other on one connection until the end."""
    try:
        async with asyncio.timeout_at(
            asyncio.get_running_loop().time() + end - time.perf_counter() + GRACE_SECONDS
        ):
            reader, writer = await asyncio.open_connection(plan["host"], plan["port"])
            for number in numbers:
                begun = time.perf_counter()
                if begun >= end:
                    break
                writer.write(requests[number % len(requests)])
                status, body = await _read_answer(reader)
                if status == 200:
                    outcome.latencies.append(time.perf_counter() - begun)
                    outcome.answer_bytes = len(body)
                    outcome.cached += FROM_CACHE in body[:200]
                else:
                    outcome.errors += 1
            writer.close()
    except (OSError, EOFError, TimeoutError, ValueError):
        outcome.errors += 1


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    return int(head[9:12]), await reader.readexactly(int(length))


def _request(plan: dict[str, Any], body: bytes) -> bytes:
    head = (
        f"POST {plan['path']} HTTP/1.1\r\nHost: {plan['host']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    json.dump(asdict(run(json.load(sys.stdin))), sys.stdout)
