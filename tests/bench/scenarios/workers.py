"""One worker and two, the cache off."""

from tests.bench.findings import AT_LEAST, Findings, Promise, load_row, ratios
from tests.bench.measuring import Table
from tests.bench.peers.core import OURS
from tests.bench.scenarios.scale import Scale
from tests.bench.scenarios.stacks import Stack, load_by_turns, service
from tests.bench.service_work import Work


def compare_workers(work: Work, scale: Scale) -> Findings:
    """Load the service with one and with two workers, by turns."""
    stacks = [Stack(str(n), OURS, service(work.registry, n), work.bodies) for n in (1, 2)]
    loads = load_by_turns(stacks, scale, (scale.busy,))
    one, two = (loads.of(stack.name, scale.busy) for stack in stacks)
    title = f"Workers, cache off, {scale.busy} connections; milliseconds"
    rows = [{"workers": n, **load_row(found)} for n, found in ((1, one), (2, two))]
    values = ratios([each.speed for each in two], [each.speed for each in one])
    return Findings([Table(title, rows)], [Promise("two workers to one", values, AT_LEAST, 1.9)])
