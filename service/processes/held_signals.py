"""SIGTERM and SIGINT put off while something must not be left half done."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

STOPPING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def held_signals() -> Iterator[None]:
    """Let SIGTERM and SIGINT act when the context ends, not within.

    For the start of child processes and threads: one that is started half cannot be ended in order.
    A child begins with both signals blocked, and may unblock them when it can act on them.
    """
    # Its start would unblock them in the middle of ours.
    resource_tracker.ensure_running()
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # which a child is to inherit
            signal.signal(number, lambda number, _: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


def act_on_signals() -> None:
    """Unblock what ``held_signals`` blocked, in a child that can now be stopped."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
