"""Every metric of the service: its name, what it shows, and which buckets it has."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Seconds: a cache hit takes a fraction of a millisecond, a large batch some hundreds.
LATENCY_BUCKETS = (
    *(0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
INTEREST_BUCKETS = (0, 1, 2, 3, 4, 6, 8, 12, 16)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Instruments:
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
        cache_lookups: Look-ups that hit or missed, with the
            ``service.monitoring.metrics.Tier`` that had the answer.
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
        registry: Where they are defined.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._define_requests(registry)
        self._define_matching(registry)
        self._define_cache(registry)
        self._define_bundles(registry)
        self._define_takedowns(registry)

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
