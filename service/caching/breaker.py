"""A circuit breaker: leave a failing dependency alone, then try it with one call."""

import time
from collections.abc import Callable
from enum import Enum


class BreakerState(Enum):
    """Where a breaker stands; the value is what the metric shows."""

    CLOSED = 0  # calls go through
    HALF_OPEN = 1  # one call is on trial
    OPEN = 2  # no call goes through


class CircuitBreaker:
    """Opens after failures in a row; after a rest it lets one call through to decide.

    Args:
        failures: Failures in a row that open it.
        rest: Seconds that it stays open before a trial.
        on_change: Told each new state.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        *,
        failures: int,
        rest: float,
        on_change: Callable[[BreakerState], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._rest = rest
        self._on_change = on_change
        self._clock = clock
        self._state = BreakerState.CLOSED
        self._failed = 0
        self._waiting_since = 0.0

    @property
    def state(self) -> BreakerState:
        """Where it stands."""
        return self._state

    def allows_call(self) -> bool:
        """Tell whether to make a call now; whoever is told yes reports how it went."""
        if self._state is BreakerState.CLOSED:
            return True
        # A trial whose caller went away without reporting is given up after another rest.
        if self._clock() - self._waiting_since < self._rest:
            return False
        self._move_to(BreakerState.HALF_OPEN)
        return True

    def succeeded(self) -> None:
        """Report that a call went well."""
        self._failed = 0
        if self._state is not BreakerState.CLOSED:
            self._move_to(BreakerState.CLOSED)

    def failed(self) -> None:
        """Report that a call failed."""
        self._failed += 1
        if self._state is BreakerState.HALF_OPEN or self._failed == self._limit:
            self._move_to(BreakerState.OPEN)

    def _move_to(self, state: BreakerState) -> None:
        self._waiting_since = self._clock()
        self._state = state
        self._on_change(state)
