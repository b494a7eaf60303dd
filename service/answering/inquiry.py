"""One caller's wait for one answer, without a task: callbacks of the event loop are enough.

A task for each request, and one more for what it shares, take longer than all that is done here.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

from index.bundles.bundle import Bundle
from service.answering.flights import Flight
from service.answering.serving import Computed, Found, Retriever, as_told, key_to_keep
from service.answering.work import DEADLINE_PASSED
from service.api.problems import DeadlinePassed
from service.api.query import Query
from service.caching.cache import cache_key
from service.monitoring.logs import request_id as logged_request_id
from service.monitoring.metrics import Tier


class Inquiry:
    """What ``Retriever.answer`` does, told by callbacks.

    Args:
        retriever: Has or computes the answer.
        query: What is asked.
        deadline: ``time.monotonic()`` after which the caller no longer waits; None for never.
        request_id: For what is logged meanwhile.
        found: Called with the answer, once, perhaps before ``begin`` returns.
        failed: Called instead with what ``Retriever.answer`` would have raised.
    """

    __slots__ = (
        *("_deadline", "_failed", "_flight", "_found", "_has_left", "_is_mine", "_query"),
        *("_request_id", "_retriever", "_timer", "_under_way"),
    )

    def __init__(
        self,
        retriever: Retriever,
        query: Query,
        deadline: float | None,
        *,
        request_id: str,
        found: Callable[[Found], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._retriever = retriever
        self._query = query
        self._deadline = deadline
        self._request_id = request_id
        self._found = found
        self._failed = failed
        self._flight: Flight[Computed] | None = None
        self._is_mine = True
        self._has_left = False
        self._under_way: asyncio.Future[tuple[Found, Tier | None]] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Look for the answer, or have it computed."""
        try:
            found = self._begin()
        except Exception as error:
            self._failed(error)
            return
        if found is not None:
            self._tell(found, "memory")

    def leave(self) -> None:
        """Wait no more: nothing will be called."""
        self._has_left = True
        if self._timer is not None:
            self._timer.cancel()
        if self._flight is not None:
            self._flight.leave()
        elif self._under_way is not None:
            self._under_way.cancel()

    def _begin(self) -> Found | None:
        """Return the answer where it is there at once."""
        retriever, query = self._retriever, self._query
        bundle, epoch = retriever.live.get(), retriever.live.takedowns.epoch
        if not query.history:
            self._await(retriever.find(query, deadline=self._deadline))
            return None
        key = cache_key(bundle.version, epoch, query)
        stored = retriever.cache.recall(key)
        if stored is not None:
            return Found("cache", stored)
        if retriever.cache.is_shared:
            self._await(retriever.find_elsewhere(bundle, query, epoch, key, self._deadline))
        else:
            self._compute(bundle, epoch, key)
        return None

    def _await(self, finding: Coroutine[Any, Any, tuple[Found, Tier | None]]) -> None:
        """Leave to a task what waits for more than a computation, or is rare."""
        context = copy_context()
        context.run(logged_request_id.set, self._request_id)
        self._under_way = asyncio.get_running_loop().create_task(finding, context=context)
        self._under_way.add_done_callback(self._take_found)

    def _compute(self, bundle: Bundle, epoch: str, key: str) -> None:
        """Wait for the computation of an answer, which others may have begun."""
        retriever, query = self._retriever, self._query

        def keep(answer: "asyncio.Future[Computed]") -> None:
            if answer.cancelled() or answer.exception() is not None:
                return
            computed = answer.result()
            kept_under = key_to_keep(computed, bundle.version, query, epoch, key)
            if kept_under is not None:
                retriever.cache.keep(kept_under, computed.found.stored)

        flight = retriever.flights.get(key)
        self._is_mine = flight is None
        if flight is None:
            answer = retriever.batcher.submit((bundle, query), deadline=self._deadline)
            flight = retriever.flights.begin(key, answer)
            answer.add_done_callback(keep)
        elif self._deadline is not None:
            left = max(0.0, self._deadline - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(left, self._expire)
        flight.board()
        flight.answer.add_done_callback(self._take_computed)
        self._flight = flight

    def _expire(self) -> None:
        self.leave()
        self._failed(DeadlinePassed(DEADLINE_PASSED))

    def _take_computed(self, answer: "asyncio.Future[Computed]") -> None:
        """Take the answer of a computation that may be shared."""
        if self._has_left or answer.cancelled():
            return
        self._flight = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        error = answer.exception()
        if error is None:
            self._tell(*as_told(answer.result().found, by_another=not self._is_mine))
        elif isinstance(error, DeadlinePassed) and not self._is_mine:
            self.begin()  # that was the deadline of the one who started it, not ours
        elif isinstance(error, Exception):
            self._failed(error)

    def _take_found(self, answer: "asyncio.Future[tuple[Found, Tier | None]]") -> None:
        """Take what a task has found."""
        if self._has_left or answer.cancelled():
            return
        error = answer.exception()
        if error is None:
            self._tell(*answer.result())
        elif isinstance(error, Exception):
            self._failed(error)

    def _tell(self, found: Found, tier: Tier | None) -> None:
        self._retriever.metrics.note_answer(found.source, tier)
        self._found(found)
