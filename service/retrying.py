"""When a bundle that was refused is tried again.

At once when what was refused is no longer the same: CURRENT was written again, or a file of the
bundle was. Else after a pause that doubles, for what no file shows (memory, a volume that was
away).
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0

FileStamp = tuple[str, int, int, int, int]


class Sight(NamedTuple):
    """What a worker saw when it looked.

    Attributes:
        version: What CURRENT names.
        stamps: Name, inode, size in bytes, times of writing and of change in ns: CURRENT, then
            the bundle's files; without the latter where the bundle is not there.
    """

    version: str
    stamps: tuple[FileStamp, ...]


def stamps_of(current: Path, bundle: Path) -> tuple[FileStamp, ...]:
    """Stamp CURRENT and the files of a bundle. Reads the file system: not for the event loop.

    Args:
        current: The file CURRENT.
        bundle: The bundle's folder; need not exist.
    """
    try:
        # What rsync is still writing has a name with a dot.
        files = sorted(each for each in bundle.iterdir() if not each.name.startswith("."))
    except OSError:
        files = []
    return tuple(stamp for path in [current, *files] if (stamp := _stamp(path)) is not None)


class RetryPause:
    """Decides whether to try again.

    Args:
        clock: Seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused: Sight | None = None
        self._pause = 0.0
        self._due = 0.0

    def is_due(self, sight: Sight) -> bool:
        """Tell whether what was seen is worth a try."""
        return sight != self._refused or self._clock() >= self._due

    def refused(self, sight: Sight) -> None:
        """Note that what was seen before the try was refused."""
        again = sight == self._refused
        self._pause = min(2 * self._pause, _LONGEST_PAUSE) if again else _FIRST_PAUSE
        self._refused = sight
        self._due = self._clock() + self._pause

    def forget(self) -> None:
        """Note that there is nothing to try again."""
        self._refused = None


def _stamp(path: Path) -> FileStamp | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return (path.name, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
