"""What happens, noted in the metrics of a worker; and the metrics of all as Prometheus reads them.

With ``PROMETHEUS_MULTIPROC_DIR`` set (``service.processes.server`` sets it before a worker imports
this) each worker writes its values to files there and any worker answers for all of them.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from service.monitoring.instruments import Instruments
from service.monitoring.metric_files import render_all

Tier = Literal["memory", "redis", "flight", "none"]
"""What had an answer: this worker's memory, Redis, an equal request under way, or nothing."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Stage:
    """Measures what happens within it.

    Args:
        seconds: Told how long it took.
    """

    __slots__ = ("_began", "_seconds")

    def __init__(self, seconds: Histogram) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        """Begin."""
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        """End, whether it succeeded or not."""
        self._seconds.observe(time.perf_counter() - self._began)


class Metrics(Instruments):
    """The metrics of one worker, and how what happens is noted in them.

    Args:
        registry: Registry of its own, so that several instances can live in one process.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry or CollectorRegistry()
        self._shown: tuple[str, str, str] | None = None
        self._seconds_of_stage: dict[str, Histogram] = {}
        self._series_of_request: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._series_of_refusal: dict[tuple[str, str], tuple[Counter, Counter]] = {}
        self._series_of_answer: dict[tuple[str, Tier | None], list[Counter]] = {}
        super().__init__(self._registry)

    def stage(self, name: str) -> "Stage":
        """Measure one stage of a match."""
        return Stage(self._stage(name))

    def note_stage(self, name: str, seconds: float) -> None:
        """Note how long one stage of a match took."""
        self._stage(name).observe(seconds)

    def _stage(self, name: str) -> Histogram:
        seconds = self._seconds_of_stage.get(name)
        if seconds is None:
            seconds = self._seconds_of_stage[name] = self.stage_seconds.labels(name)
        return seconds

    def note_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered.

        Args:
            method: One of a few, so that callers cannot make up series.
            route: Template of its path.
            status: Of the answer.
            seconds: How long it took in the worker.
        """
        key = (method, route, status)
        series = self._series_of_request.get(key)
        if series is None:
            # ``labels`` takes as long as the counting itself.
            series = self.requests.labels(*key), self.request_seconds.labels(route)
            self._series_of_request[key] = series
        counter, histogram = series
        counter.inc()
        histogram.observe(seconds)

    def note_answer(self, source: str, tier: Tier | None) -> None:
        """Count a match answer, and the look-up that came before it.

        Args:
            source: model, cache or fallback.
            tier: What had the answer; None where the cache was not asked.
        """
        series = self._series_of_answer.get((source, tier))
        if series is None:
            series = [self.answers.labels(source)]
            if tier is not None:
                result = "miss" if tier == "none" else "hit"
                series.append(self.cache_lookups.labels(result, tier))
            self._series_of_answer[source, tier] = series
        for counter in series:
            counter.inc()

    def note_refusal(self, method: str, route: str) -> None:
        """Count a request that was refused unread; its time would say nothing of the others'."""
        series = self._series_of_refusal.get((method, route))
        if series is None:
            series = self.shed.labels("overload"), self.requests.labels(method, route, 503)
            self._series_of_refusal[method, route] = series
        for counter in series:
            counter.inc()

    def note_matches(
        self, *, known_items: int, unknown_items: int, interests_in_use: Iterable[int]
    ) -> None:
        """Count what a micro-batch of match requests held.

        Args:
            known_items: Interactions with items that the bundle knows.
            unknown_items: The others.
            interests_in_use: Interests that hold something, of each user with any known item.
        """
        self.interactions.labels("true").inc(known_items)
        self.interactions.labels("false").inc(unknown_items)
        for count in interests_in_use:
            self.interests_in_use.observe(count)

    def note_bundle(
        self, *, version: str, model: str, index_kind: str, created: float, items: int
    ) -> None:
        """Show which bundle this worker serves from now on, in place of the one before.

        Args:
            version: The bundle's version.
            model: Name of its model.
            index_kind: Kind of its index.
            created: When it was built, seconds since 1970.
            items: Items in its index.
        """
        if self._shown is not None:
            # A series cannot be taken back from the files of a worker, but it can say 0.
            self.bundle.labels(*self._shown).set(0)
        self._shown = (version, model, index_kind)
        self.bundle.labels(*self._shown).set(1)
        self.bundle_created.set(created)
        self.index_items.set(items)
        self.reloads.labels("swapped").inc()
        self.workers_ready.set(1)

    def render(self) -> bytes:
        """Return all values of all workers in Prometheus' text format."""
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        return generate_latest(self._registry) if folder is None else render_all(Path(folder))
