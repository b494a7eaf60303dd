from service.caching.breaker import BreakerState, CircuitBreaker

CLOSED, HALF_OPEN, OPEN = BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_failures_in_a_row_open_it() -> None:
    breaker = CircuitBreaker(failures=2, rest=1.0)
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.state is CLOSED

    breaker.failed()

    assert breaker.state is OPEN
    assert not breaker.allows_call()


def test_after_a_rest_one_call_decides() -> None:
    clock, states = Clock(), list[BreakerState]()
    breaker = CircuitBreaker(failures=1, rest=1.0, on_change=states.append, clock=clock)
    breaker.failed()
    clock.now = 0.9
    assert not breaker.allows_call()
    clock.now = 1.0
    assert breaker.allows_call()
    assert not breaker.allows_call()  # one at a time
    breaker.failed()
    assert not breaker.allows_call()
    clock.now = 2.0
    assert breaker.allows_call()
    breaker.succeeded()

    assert breaker.allows_call()
    assert states == [OPEN, HALF_OPEN, OPEN, HALF_OPEN, CLOSED]


def test_a_trial_that_never_reports_does_not_keep_it_open_for_ever() -> None:
    clock = Clock()
    breaker = CircuitBreaker(failures=1, rest=1.0, clock=clock)
    breaker.failed()
    clock.now = 1.0
    assert breaker.allows_call()
    clock.now = 2.0

    assert breaker.allows_call()


def test_failures_of_calls_under_way_do_not_move_an_open_one() -> None:
    states = list[BreakerState]()
    breaker = CircuitBreaker(failures=1, rest=1.0, on_change=states.append)
    breaker.failed()
    breaker.failed()

    assert states == [OPEN]
