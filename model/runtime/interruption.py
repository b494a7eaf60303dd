"""SIGTERM and SIGINT: what is under way is saved, and the training can go on later."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """A training was asked to stop, and has saved what it needs to go on.

    No ``Exception``, because it is raised wherever the program is: what handles errors there, as
    the logging module does, must not take it for one of its own.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)

    def __str__(self) -> str:
        return (
            f"stopped by {self.signal.name}; all is saved, go on with the same command and --resume"
        )


class Interruption:
    """Signals that ask a training to stop.

    While it is deferred, a signal is only noted: whoever trains looks at ``requested`` after each
    step. Otherwise ``Stopped`` is raised wherever the program is; a second SIGINT raises
    ``KeyboardInterrupt`` in any case.

    Args:
        deferred: Whether signals are deferred where nothing else is said.

    Attributes:
        requested: The signal that came, None so far.
    """

    def __init__(self, *, deferred: bool = False) -> None:
        self.requested: signal.Signals | None = None
        self._deferred = deferred

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal; the handler that ``listen`` installs."""
        if self.requested is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number)
        if not self._deferred:
            raise Stopped(number)

    @contextmanager
    def deferred(self, deferred: bool = True) -> Iterator[None]:
        """Defer signals while the context lasts; with False, let them stop what is within.

        Raises:
            Stopped: One has come, and is not deferred within, or not any more afterwards.
        """
        before, self._deferred = self._deferred, deferred
        try:
            self._raise_what_came()
            yield
        finally:
            self._deferred = before
        self._raise_what_came()

    def _raise_what_came(self) -> None:
        if self.requested is not None and not self._deferred:
            raise Stopped(self.requested)


@contextmanager
def listen(*, deferred: bool) -> Iterator[Interruption]:
    """Handle SIGTERM and SIGINT, unless this process was told to ignore them.

    Args:
        deferred: See ``Interruption``.
    """
    interruption = Interruption(deferred=deferred)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interruption.handle)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
