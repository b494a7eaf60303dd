"""SIGTERM and SIGINT put off while something must not be left half done."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def held_signals() -> Iterator[None]:
    """Let SIGTERM and SIGINT act when the context ends, not within.

    For the start of child processes and threads: one that is started half cannot be ended in order.
    """
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # which a child is to inherit
            signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


def leave_signals_to_parent() -> None:
    """Ignore SIGINT in a child: Ctrl-C reaches both, and the parent sees to the child's end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
