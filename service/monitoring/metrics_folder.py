"""The folder in which the workers of one service leave their metrics: made, held, swept.

Parent and workers each hold a shared lock on it as long as they live; however they die, the system
frees it. A folder that nobody holds was left by a service that was killed.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model.files import locked

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""By which prometheus_client, in each worker, is told the folder."""

_PREFIX = "opal-metrics-"


@contextmanager
def metrics_folder() -> Iterator[Path]:
    """Make the folder, empty at start and gone at the end; sweep what killed services left."""
    _sweep(Path(tempfile.gettempdir()))
    folder, descriptor = _make()
    try:
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def hold(folder: Path) -> int:
    """Keep others from sweeping a folder until this process ends.

    Returns:
        A file descriptor; closed, it lets go.

    Raises:
        OSError: There is no such folder.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    # Where a file system has no locks, nobody can take the folder for abandoned either.
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def _make() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with suppress(FileNotFoundError):
            descriptor = hold(folder)
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)  # another service swept it before it was held


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with locked(folder) as mine:
            if mine and _is_ours(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    """Tell whether it is a folder of ours: where all may write, others' may have such a name."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
