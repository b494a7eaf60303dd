"""Curves of a training for TensorBoard: ``tensorboard --logdir RUN/tensorboard``.

Each stage is a TensorBoard run of its own, so that both lie over one another. Points are written
where a checkpoint is, before it: what is on disk never lacks a point of what is resumed, and
points after it are withdrawn.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


class TrainingLog:
    """Where the curves of one stage go.

    Args:
        writer: TensorBoard's; None: nowhere.
    """

    def __init__(self, writer: SummaryWriter | None) -> None:
        self._writer = writer

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write a point of each curve, and make sure that it is in the file."""
        if self._writer is None:
            return
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()


@contextmanager
def open_log(folder: Path | None, step: int) -> Iterator[TrainingLog]:
    """Open the log of one stage; points after ``step``, of a training that was killed, are void.

    Args:
        folder: Where it goes; None: nowhere.
        step: Steps taken before.
    """
    if folder is None:
        yield TrainingLog(None)
        return
    writer = SummaryWriter(str(folder), purge_step=step + 1)
    try:
        yield TrainingLog(writer)
    finally:
        writer.close()
