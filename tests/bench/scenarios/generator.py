"""What the load generator itself can reach: else a table may show it and not the servers."""

import sys
import tempfile
import time
from pathlib import Path

from tests.bench.findings import Findings, load_row
from tests.bench.load_plan import Plan
from tests.bench.measuring import Row, Table
from tests.bench.outcome import Outcome
from tests.bench.processes import running
from tests.bench.scenarios.scale import Scale
from tests.bench.servers import HOST, START_SECONDS, DidNotStartError, load
from tests.bench.service_work import Work
from tests.redis_server import free_port
from tests.services import service_environment

OPEN_RATES = (1000.0, 20_000.0)


def measure_generator(work: Work, scale: Scale) -> Findings:
    """Load a server that only answers, with answers of the service's size."""
    size, port = work.answer.stat().st_size, free_port()
    command = [sys.executable, "-m", "tests.bench.fast_server", str(port), str(size)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with running(command, log, environment=service_environment()):
            _wait_until_ready(log)
            closed = load(Plan(HOST, port, work.bodies, scale.seconds, scale.busy))
            opened = {
                rate: load(Plan(HOST, port, work.bodies, scale.seconds, scale.busy, rate=rate))
                for rate in OPEN_RATES
            }
    rows = [_to_row(f"closed loop, {scale.busy} connections", closed)]
    rows += [_to_row(f"open loop, {rate:,.0f}/s", found) for rate, found in opened.items()]
    title = f"The load generator, on a server that only sends {size:,} bytes; milliseconds"
    return Findings([Table(title, rows)])


def _to_row(name: str, outcome: Outcome) -> Row:
    row = load_row([outcome])
    del row["from cache"]
    per_request = outcome.cpu_seconds / max(1, outcome.asked)
    return {"load": name, **row, "µs a request": 1e6 * per_request, "sent late": outcome.late}


def _wait_until_ready(log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "ready" not in log.read_text():
        if time.monotonic() > deadline:
            raise DidNotStartError(log.read_text())
        time.sleep(0.02)
