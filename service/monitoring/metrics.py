"""Every metric of the service, what it shows and which buckets it has.

With ``PROMETHEUS_MULTIPROC_DIR`` set (``server`` sets it before a worker imports this) each
worker writes its values to files there and any worker answers for all of them.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.monitoring.metric_files import render_all

# Seconds: a cache hit takes a fraction of a millisecond, a large batch some hundreds.
LATENCY_BUCKETS = (
    *(0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
INTEREST_BUCKETS = (0, 1, 2, 3, 4, 6, 8, 12, 16)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

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


class Metrics:
    """The metrics of one worker.

    Attributes:
        requests: Requests answered, by route template, method and status.
        request_seconds: How long they took in the worker, by route template.
        stage_seconds: The same by stage of a match: validate and cache of each request; encode,
            search (with the merge over interests and the filters), rank and serialise of each
            micro-batch.
        batch_size: Requests in a ``POST /match/batch``.
        micro_batch_size: Match requests that a worker computed together.
        answers: Match answers by source: model, cache, fallback.
        interactions: Interactions received that the bundle knows or does not know.
        interests_in_use: Interests that hold at least one interaction, per computed answer.
        pending: Computations that wait or run.
        shed: Computations refused: overload, or deadline passed.
        cache_lookups: Look-ups that hit or missed, with the ``Tier`` that had the answer.
        cache_lock_waits: Waits for an answer that another worker computed, by outcome: answered,
            taken_over (it gave up or died), timed_out, or failed (Redis did meanwhile).
        cache_errors: Calls to Redis that failed, by call.
        cache_breaker: 0 closed, 1 half open, 2 open; the worst of all workers.
        workers_ready: Workers that have a live bundle.
        bundle: Workers that serve a bundle, by version, model and index kind.
        bundle_created: When the live bundle was built; the newest of all workers, because one
            that has none yet says 0. ``bundle`` shows that they differ.
        index_items: Items in the live index.
        reloads: Swaps to a new bundle by outcome: swapped or refused.
        takedowns: Items that must not be served; the most of all workers.
        takedown_refreshes: Looks at the takedowns by outcome: unchanged, changed, failed, or
            copy_failed for the copy of what Redis holds.

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
        self._define_requests(self._registry)
        self._define_matching(self._registry)
        self._define_cache(self._registry)
        self._define_bundles(self._registry)
        self._define_takedowns(self._registry)

    def _define_requests(self, to: CollectorRegistry) -> None:
        self.requests = Counter(
            "opal_requests", "Requests answered", ["method", "route", "status"], registry=to
        )
        self.request_seconds = Histogram(
            "opal_request_seconds",
            "Seconds in the worker per request",
            ["route"],
            buckets=LATENCY_BUCKETS,
            registry=to,
        )
        self.batch_size = Histogram(
            "opal_batch_size",
            "Match requests in one POST /match/batch",
            buckets=BATCH_BUCKETS,
            registry=to,
        )

    def _define_matching(self, to: CollectorRegistry) -> None:
        self.stage_seconds = Histogram(
            "opal_stage_seconds",
            "Seconds per stage: validate and cache per request; encode, search (with the merge "
            "over interests), rank and serialise per micro-batch",
            ["stage"],
            buckets=LATENCY_BUCKETS,
            registry=to,
        )
        self.micro_batch_size = Histogram(
            "opal_micro_batch_size",
            "Match requests that a worker computed together",
            buckets=BATCH_BUCKETS,
            registry=to,
        )
        self.answers = Counter("opal_answers", "Match answers by source", ["source"], registry=to)
        self.interactions = Counter(
            "opal_interactions",
            "Interactions received in computed answers; known: true or false",
            ["known"],
            registry=to,
        )
        self.interests_in_use = Histogram(
            "opal_interests_in_use",
            "Interests that hold an interaction, per computed answer",
            buckets=INTEREST_BUCKETS,
            registry=to,
        )
        self.pending = Gauge(
            "opal_pending",
            "Computations that wait or run, when the last of them began",
            multiprocess_mode="livesum",
            registry=to,
        )
        self.shed = Counter(
            "opal_shed",
            "Computations refused; reason: overload or deadline",
            ["reason"],
            registry=to,
        )

    def _define_cache(self, to: CollectorRegistry) -> None:
        self.cache_lookups = Counter(
            "opal_cache_lookups",
            "Cache look-ups; result: hit or miss; tier: memory, redis, flight or none",
            ["result", "tier"],
            registry=to,
        )
        self.cache_lock_waits = Counter(
            "opal_cache_lock_waits",
            "Waits for another worker's answer; outcome: answered, taken_over, timed_out or failed",
            ["outcome"],
            registry=to,
        )
        self.cache_errors = Counter(
            "opal_cache_errors",
            "Calls to Redis that failed; call: get, put or give_up",
            ["call"],
            registry=to,
        )
        self.cache_breaker = Gauge(
            "opal_cache_breaker_state",
            "Circuit breaker before Redis: 0 closed, 1 half open, 2 open; worst worker",
            multiprocess_mode="livemax",
            registry=to,
        )

    def _define_bundles(self, to: CollectorRegistry) -> None:
        self.workers_ready = Gauge(
            "opal_workers_ready",
            "Workers that have a live bundle",
            multiprocess_mode="livesum",
            registry=to,
        )
        self.bundle = Gauge(
            "opal_bundle_info",
            "Workers that serve this bundle",
            ["version", "model", "index_kind"],
            multiprocess_mode="livesum",
            registry=to,
        )
        self.bundle_created = Gauge(
            "opal_bundle_created_timestamp_seconds",
            "When the live bundle was built, seconds since 1970; newest of all workers",
            multiprocess_mode="livemax",
            registry=to,
        )
        self.index_items = Gauge(
            "opal_index_items",
            "Items in the live index",
            multiprocess_mode="livemax",
            registry=to,
        )
        self.reloads = Counter(
            "opal_reloads",
            "Bundles opened to go live; outcome: swapped or refused",
            ["outcome"],
            registry=to,
        )

    def _define_takedowns(self, to: CollectorRegistry) -> None:
        self.takedowns = Gauge(
            "opal_takedowns",
            "Items that must not be served; the most of all workers",
            multiprocess_mode="livemax",
            registry=to,
        )
        self.takedown_refreshes = Counter(
            "opal_takedown_refreshes",
            "Looks at the takedowns; outcome: unchanged, changed, failed or copy_failed",
            ["outcome"],
            registry=to,
        )

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
