"""The files of metrics that workers leave behind: what the dead have counted, in one place.

prometheus_client writes a file per kind and process. A gauge ends with its worker; counters and
histograms go on, so that totals never fall. Without merging, each replaced worker would leave two
files that every scrape reads for ever.
"""

import fcntl
import logging
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_KINDS = ("counter", "histogram")
# In the place of a process id; no worker has this one.
_RETIRED = 0
_LOCK_FILE = "lock"

_logger = logging.getLogger(__name__)


def count_as_this_process() -> None:
    """Count under this process' id from now on; to be called once, before there are metrics.

    prometheus_client asks the system for the id at each count, in case there was a fork: some
    twenty times in a match request, which was a fifteenth of all that the event loop does for it.
    """
    pid = os.getpid()
    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: pid)  # type: ignore[no-untyped-call]


def retire(folder: Path, pid: int) -> None:
    """Take away the gauges of a dead worker and add what it counted to that of the other dead.

    Never raises for what it finds: a worker killed while it wrote must not end its supervisor.

    Args:
        folder: Where workers leave their metrics.
        pid: The dead worker.
    """
    with _locked(folder, fcntl.LOCK_EX):
        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        for kind in _KINDS:
            file = folder / f"{kind}_{pid}.db"
            if not file.exists():
                continue
            try:
                _merge(file, folder / f"{kind}_{_RETIRED}.db")
            except Exception:
                # It would spoil every scrape, too.
                _logger.exception("metrics of worker %d cannot be read; left out", pid)
                with suppress(OSError):
                    file.unlink()


def render_all(folder: Path) -> bytes:
    """Return the metrics of all workers, dead and alive, in Prometheus' text format."""
    everyone = CollectorRegistry()
    with _locked(folder, fcntl.LOCK_SH):
        MultiProcessCollector(everyone, str(folder))  # type: ignore[no-untyped-call]
        return generate_latest(everyone)


def _merge(file: Path, into: Path) -> None:
    """Add the values of a file to another and remove it."""
    totals: defaultdict[str, float] = defaultdict(float)
    for each in (into, file):
        if each.exists() and each.stat().st_size > 0:
            values = MmapedDict.read_all_values_from_file(str(each))  # type: ignore[no-untyped-call]
            for key, value, _, _ in values:
                totals[key] += value
    # A name that no scrape reads, until it is whole.
    staged = into.with_suffix(".staged")
    staged.unlink(missing_ok=True)
    merged = MmapedDict(str(staged))  # type: ignore[no-untyped-call]
    for key, value in totals.items():
        merged.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    merged.close()  # type: ignore[no-untyped-call]
    staged.replace(into)
    file.unlink()


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Keep scrapes and merges apart: in the middle of one a file would count twice or not."""
    with (folder / _LOCK_FILE).open("a") as lock:
        fcntl.flock(lock, how)
        yield
