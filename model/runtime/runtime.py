"""Where a training runs: on which device, beside which processes, stopped by what."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from model.errors import OpalError
from model.runtime.device import choose_device
from model.runtime.interruption import Interruption, Stopped, listen
from model.runtime.parallel import Processes, join_processes

T = TypeVar("T")


@dataclass(frozen=True)
class Runtime:
    """Where a training runs; by default alone on the CPU, with nobody to stop it.

    Attributes:
        device: What computes.
        processes: Who takes part.
        interruption: Signals that ask to stop.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    processes: Processes = field(default_factory=Processes)
    interruption: Interruption = field(default_factory=Interruption)

    def lead(self, work: Callable[[], T]) -> T:
        """Let the leader alone do something; every process gets its result, or its error.

        A signal stops the work at once. All processes call this together.
        """
        result: T | None = None
        error: OpalError | Stopped | None = None
        if self.processes.leads:
            try:
                with self.interruption.deferred(False):
                    result = work()
            except (OpalError, Stopped) as raised:
                error = raised
        result, error = self.processes.from_leader((result, error))
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # the leader's, which has worked


@contextmanager
def open_runtime(device: str) -> Iterator[Runtime]:
    """Take a device, join the other processes, and listen to signals, while the context lasts.

    Args:
        device: See ``model.runtime.device.choose_device``.

    Raises:
        InputError: There is no such device.
    """
    chosen = choose_device(device)
    # One process must not leave others waiting: they stop together, after a step or when the
    # leader is interrupted in what it does alone.
    with (
        join_processes(chosen) as processes,
        listen(deferred=processes.size > 1) as interruption,
    ):
        yield Runtime(chosen, processes, interruption)
