"""A timer for an event loop that is exact to some 0.05 ms; the loops' own count milliseconds.

An open loop that sends up to a millisecond late would add that to every latency.
"""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_LEAST_SECONDS = 1e-6  # 0 would turn the timer off


class _TimerSpec(ctypes.Structure):
    """``struct itimerspec``: the interval of repetition, then the time to the first."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class PreciseTimer:
    """Calls back once for each time that it is set. Linux's timerfd; elsewhere the loop's timer.

    Args:
        loop: Where it calls back.
        callback: What it calls.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._file: int | None = None
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._file = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
            loop.add_reader(self._file, self._expired)

    def set(self, seconds: float) -> None:
        """Call back in so many seconds."""
        seconds = max(seconds, _LEAST_SECONDS)
        if self._file is None:
            self._loop.call_later(seconds, self._callback)
            return
        whole = int(seconds)
        spec = _TimerSpec(0, 0, whole, int((seconds - whole) * 1e9))
        self._libc.timerfd_settime(self._file, 0, ctypes.byref(spec), None)

    def close(self) -> None:
        """Give the timer back."""
        if self._file is not None:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = None

    def _expired(self) -> None:
        assert self._file is not None
        try:
            os.read(self._file, 8)
        except BlockingIOError:  # set again meanwhile
            return
        self._callback()
