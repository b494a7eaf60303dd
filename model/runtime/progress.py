"""How far a stage is: a bar on a terminal; elsewhere the log's lines tell, which ask here too."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


class Progress:
    """Speed of a stage's steps, and the time until its earliest end.

    Args:
        bar: What shows it.
        sequences_per_step: B.
    """

    def __init__(self, bar: "_Bar", sequences_per_step: int) -> None:
        self._bar = bar
        self._sequences_per_step = sequences_per_step
        self._step = self._first_step = int(bar.n)  # a bar that is not shown does not count
        self._begun = time.monotonic()
        self.begin_steps()

    def begin_steps(self) -> None:
        """Say that steps come next, after something else that took its time."""
        self._begun_with = self._step
        self._steps_begun = time.monotonic()

    def advance(self) -> None:
        """Say that a step has been taken."""
        self._step += 1
        self._bar.update()

    def sequences_per_second(self) -> float:
        """Speed since ``begin_steps``: of steps alone."""
        sequences = (self._step - self._begun_with) * self._sequences_per_step
        return sequences / max(time.monotonic() - self._steps_begun, 1e-9)

    def expect_end(self, step: int, note: str = "") -> str:
        """Set the step at which the stage ends, and a note beside the bar; return the time left.

        It counts on all that happened since the stage began here, validations included.

        Returns:
            Such as "00:42"; "?" where no step has been taken yet.
        """
        self._bar.total = step
        self._bar.set_postfix_str(note)
        taken = self._step - self._first_step
        if not taken:
            return "?"
        seconds = (time.monotonic() - self._begun) / taken * (step - self._step)
        return str(tqdm.format_interval(seconds))


class _Bar(tqdm):  # type: ignore[type-arg]  # generic in the stubs only
    """A bar that tells sequences per second."""

    sequences_per_step = 0

    @property
    def format_dict(self) -> dict[str, Any]:
        """What the layout may show."""
        values = dict(super().format_dict)
        rate = values["rate"]
        speed = f"{rate * self.sequences_per_step:,.0f}" if rate else "?"
        return {**values, "speed": speed}


@contextmanager
def show_progress(
    title: str, *, step: int, end: int, end_is_known: bool, sequences_per_step: int, shown: bool
) -> Iterator[Progress]:
    """Show a stage's progress on a terminal while the context lasts; log lines go above the bar.

    Args:
        title: Of the stage.
        step: Steps taken before.
        end: The step at which it ends.
        end_is_known: Whether it surely ends there, and not later if validation still gains.
        sequences_per_step: B.
        shown: False shows nothing.
    """
    left = "{remaining} left" if end_is_known else "at least {remaining} left"
    layout = f"{{desc}} {{n_fmt}}/{{total_fmt}} |{{bar}}| {{speed}} sequences/s, {left}{{postfix}}"
    with (
        logging_redirect_tqdm(),
        _Bar(
            total=end,
            initial=step,
            desc=f"{title}, step",
            bar_format=layout,
            disable=None if shown else True,  # None: where stderr is no terminal
            leave=False,
        ) as bar,
    ):
        bar.sequences_per_step = sequences_per_step
        yield Progress(bar, sequences_per_step)
