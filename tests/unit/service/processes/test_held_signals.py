"""Signals that come while something starts act when it has started."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from service.processes.held_signals import STOPPING, held_signals
from tests.services import REPOSITORY


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


def test_a_child_can_be_stopped_from_when_it_says_so() -> None:
    code = (
        "import os, signal, sys\n"
        "from service.processes.held_signals import STOPPING, act_on_signals\n"
        "assert set(STOPPING) <= signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('goes on', flush=True)\n"
        "act_on_signals()\n"
        "print('not reached')\n"
    )
    with held_signals():
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )

    assert child.communicate(timeout=20)[0] == "goes on\n"
    assert child.returncode == -signal.SIGTERM
    assert not set(STOPPING) & signal.pthread_sigmask(signal.SIG_BLOCK, [])
