"""Which of a worker's threads the system lets interrupt the other.

The event loop wakes for every request. On cores that are all busy it would take the place of
whatever computes each time, and most of what it wakes for under overload is refused. A batch
thread, in the system's words, gets the same share of a core but waits for its turn.
"""

import os
import sys
import threading
from contextlib import suppress

_changed = threading.Event()
"""Set once a thread of this process interrupts nobody because of us."""


def interrupt_nobody() -> None:
    """Make this thread, and those that it starts, wait for their turn. Changes nothing elsewhere.

    Whoever chose a scheduling policy for the service, such as a real-time one, keeps it.
    """
    if sys.platform == "linux" and _change(os.SCHED_OTHER, os.SCHED_BATCH):
        _changed.set()


def be_ordinary() -> None:
    """Take back what this thread has of ``interrupt_nobody`` from whoever started it."""
    if sys.platform == "linux" and _changed.is_set():
        _change(os.SCHED_BATCH, os.SCHED_OTHER)


def _change(before: int, after: int) -> bool:
    # A sandbox may forbid the call; the service only works a little less well then.
    with suppress(OSError):
        if os.sched_getscheduler(0) == before:
            os.sched_setscheduler(0, after, os.sched_param(0))
            return True
    return False
