"""Signals while a training computes, and at other times."""

import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from model.runtime.interruption import Interruption, Stopped, listen


@pytest.fixture(autouse=True)
def sigint_as_at_a_terminal() -> Iterator[None]:
    """What a shell starts in the background ignores SIGINT, and `listen` leaves it at that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_stops_the_work_where_it_is() -> None:
    with (
        listen(deferred=False),
        pytest.raises(Stopped, match=r"stopped by SIGTERM; .* --resume"),
    ):
        send(signal.SIGTERM)


def test_a_deferred_signal_is_noted_and_stops_the_work_afterwards() -> None:
    noted = []

    def work(interruption: Interruption) -> None:
        with interruption.deferred():
            send(signal.SIGINT)
            noted.append(interruption.requested)

    with listen(deferred=False) as interruption, pytest.raises(Stopped, match="SIGINT"):
        work(interruption)
    assert noted == [signal.SIGINT]


def test_what_is_not_deferred_is_not_begun_after_a_signal() -> None:
    begun = []

    def work(interruption: Interruption) -> None:
        with interruption.deferred(False):
            begun.append(True)

    with listen(deferred=True) as interruption:
        send(signal.SIGTERM)
        with pytest.raises(Stopped):
            work(interruption)
    assert not begun


def test_deferred_all_along_a_signal_stops_nothing_by_itself() -> None:
    with listen(deferred=True) as interruption:
        with interruption.deferred():
            send(signal.SIGTERM)
        assert interruption.requested == signal.SIGTERM


def test_a_second_interrupt_does_not_wait() -> None:
    interruption = Interruption(deferred=True)
    interruption.handle(signal.SIGINT, None)

    with pytest.raises(KeyboardInterrupt):
        interruption.handle(signal.SIGINT, None)


def test_handlers_are_put_back_and_ignored_signals_stay_ignored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup and `&` in scripts do
    try:
        with listen(deferred=False) as interruption:
            assert signal.getsignal(signal.SIGTERM) != before
            send(signal.SIGINT)
            assert interruption.requested is None
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_handles_errors_does_not_take_a_stop_for_one() -> None:
    with listen(deferred=False), pytest.raises(Stopped), suppress(Exception):
        send(signal.SIGTERM)


def test_a_stop_travels_to_other_processes() -> None:
    stopped = pickle.loads(pickle.dumps(Stopped(signal.SIGTERM)))

    assert (stopped.signal, str(stopped)) == (signal.SIGTERM, str(Stopped(signal.SIGTERM)))
