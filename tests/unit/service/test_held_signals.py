"""Signals that come while something starts act when it has started."""

import signal
from collections.abc import Iterator

import pytest

from service.held_signals import STOPPING, held_signals, leave_signals_to_parent


@pytest.fixture(autouse=True)
def _handlers_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPPING)
def test_a_held_signal_acts_when_the_context_ends(number: signal.Signals) -> None:
    signal.signal(number, signal.default_int_handler)
    reached = []

    def work() -> None:
        with held_signals():
            signal.raise_signal(number)
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["the end"]
    assert signal.getsignal(number) is signal.default_int_handler


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    with held_signals():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)


def test_a_failure_within_is_raised_when_no_signal_came() -> None:
    with pytest.raises(ValueError, match="within"), held_signals():
        raise ValueError("within")


def test_a_child_leaves_ctrl_c_to_its_parent() -> None:
    leave_signals_to_parent()

    signal.raise_signal(signal.SIGINT)
