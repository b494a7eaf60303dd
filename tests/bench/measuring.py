"""What the benchmarks share: options, one thread, percentiles, tables. Imports nothing heavy."""

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from service.processes.server import THREAD_VARIABLES

Row = dict[str, str | int | float]


class Times(NamedTuple):
    """How long calls took, in milliseconds."""

    median: float
    p99: float


class Table(NamedTuple):
    """A part of a benchmark's result; every row has the same columns."""

    title: str
    rows: list[Row]


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser of what every benchmark takes: ``--quick`` and ``--json``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--quick", action="store_true", help="small and short: shows that it runs, not how fast"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document, no tables")
    return parser


def parse_options(description: str) -> argparse.Namespace:
    """Parse the options of a benchmark that takes no others."""
    return make_parser(description).parse_args()


def use_one_thread() -> None:
    """Keep numerical libraries at one thread, in this process and its children.

    They read it when they are imported: call this before NumPy, torch or Faiss come in.
    """
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))


def describe_machine() -> str:
    """Return processor, cores and Python of this machine in one line."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}"


def summarise(seconds: Sequence[float]) -> Times:
    """Median and 99th percentile (nearest rank) of durations given in seconds."""
    ordered = sorted(seconds)
    p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
    return Times(1e3 * statistics.median(ordered), 1e3 * p99)


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def show(name: str, tables: Sequence[Table], *, threads: str, options: argparse.Namespace) -> None:
    """Print a benchmark's result, as Markdown or with ``--json`` as one document.

    Args:
        name: Of the benchmark.
        tables: What was measured.
        threads: How many threads computed, in words.
        options: As parsed, with ``quick`` and ``json``.
    """
    machine = describe_machine()
    if options.json:
        document: dict[str, Any] = {
            "benchmark": name,
            "machine": machine,
            "threads": threads,
            "quick": options.quick,
            "tables": [table._asdict() for table in tables],
        }
        print(json.dumps(document, indent=2))
        return
    print(f"## {name}\n\n{machine}; {threads}.")
    if options.quick:
        print("\n`--quick`: these times mean nothing.")
    for table in tables:
        print(f"\n{table.title}\n\n{to_markdown(table.rows)}")
    print()


def to_markdown(rows: Sequence[Row]) -> str:
    """Lay rows out as a Markdown table; numbers are shown with three significant digits."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns)]
    lines += [[_shown(row[column]) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _shown(value: str | float) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}"
