"""The takedowns of a registry in a file, which several workers and machines change.

    takedowns/ledger.jsonl  a header with the SHA-256 of what follows, then one takedown a line
    takedowns/.lock         held by whoever writes; readers need no lock

Replaced atomically, so that a kill at any moment leaves the old state or the new one. In a folder
of its own: a publish sweeps what is staged in the registry, and holds its lock for minutes.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from index.takedowns.takedowns import Ledger, Takedown
from model.errors import RegistryError
from model.files import replace_file, sweep_staging

FOLDER = "takedowns"
LEDGER_FILE = "ledger.jsonl"
LOCK_FILE = ".lock"

_FORMAT = 1
_MAX_HEADER_BYTES = 1024
# Seconds. A write takes milliseconds; one that hangs must not keep everybody waiting for ever.
_LOCK_PATIENCE = 5.0
_LOCK_PAUSE = 0.005


class TakedownFile:
    """The file of a registry's takedowns; made by the first one.

    Args:
        registry: The registry's folder. Need not exist.
    """

    def __init__(self, registry: Path) -> None:
        self.path = registry / FOLDER / LEDGER_FILE
        self._sound: _Sight | None = None
        self._damaged: tuple[_Sight | None, str] = (None, "")

    def __repr__(self) -> str:
        return f"<TakedownFile {self.path}>"

    def read(self) -> Ledger | None:
        """Return the state there, None without a file.

        Raises:
            RegistryError: The file is damaged.
            OSError: It cannot be read.
        """
        content = self._content()
        if content is None:
            return None
        with self._told_as_damage():
            return _parse(content)

    def read_again(self, known: Ledger) -> Ledger | None:
        """Return the state there: ``known`` itself where nobody touched the file since it was read.

        Then this costs a look at its head. Else all of it is read and checked: whatever changed it,
        the head may say what it said before.

        Args:
            known: What this returned before, or any other state.

        Raises:
            RegistryError: The file is damaged.
            OSError: It cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                sight = _Sight.of(file)
                if sight == self._sound and sight.is_of(known):
                    return known
                if sight == self._damaged[0]:
                    raise RegistryError(self._damaged[1])
                content = sight.head + file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            with self._told_as_damage():
                ledger = _parse(content)
        except RegistryError as error:
            self._damaged = sight, str(error)  # not to be read whole at every look until mended
            raise
        self._sound = sight
        return ledger

    def change(self, edit: Callable[[Ledger], Ledger]) -> tuple[Ledger, Ledger]:
        """Change the takedowns while nobody else does.

        Args:
            edit: Makes the new state of the present one; the very same state changes nothing.

        Returns:
            The states before and after, the latter on the disk.

        Raises:
            RegistryError: The file is damaged, or locked by a writer that hangs.
            OSError: It cannot be written.
        """
        with self._writing():
            before = self.read() or Ledger.begin()
            after = edit(before)
            if after is not before:
                self._write(after)
        return before, after

    def keep(self, ledger: Ledger) -> None:
        """Make this a copy of a state that is stored elsewhere, unless it holds a later one.

        Raises:
            RegistryError: It is locked by a writer that hangs.
            OSError: It cannot be written.
        """
        with self._writing():
            try:
                origin, revision = self._checked_stamp() or ("", 0)
            except RegistryError:
                origin, revision = "", 0  # the copy is damaged, its original is not
            if origin != ledger.origin or revision < ledger.revision:
                self._write(ledger)

    def _checked_stamp(self) -> tuple[str, int] | None:
        """Return the stamp of the state there, None without a file; raises as ``read``."""
        content = self._content()
        if content is None:
            return None
        with self._told_as_damage():
            return _stamp_of(_checked(content)[0])

    def _content(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _write(self, ledger: Ledger) -> None:
        body = b"".join(orjson.dumps(each._asdict()) + b"\n" for each in ledger.takedowns.values())
        header = {
            "format": _FORMAT,
            "origin": ledger.origin,
            "revision": ledger.revision,
            "takedowns": len(ledger.takedowns),
            "sha256": sha256(body).hexdigest(),
        }
        replace_file(self.path, orjson.dumps(header) + b"\n" + body)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock, which the system frees when its holder dies.

        Raises:
            RegistryError: Another holds it for too long.
        """
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + _LOCK_PATIENCE
        with (folder / LOCK_FILE).open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise RegistryError(
                            f"{folder / LOCK_FILE}: locked by another writer for "
                            f"{_LOCK_PATIENCE:g} s; nothing was changed, try again"
                        ) from None
                time.sleep(_LOCK_PAUSE)
            sweep_staging(folder)  # whoever holds the lock is the only writer
            yield

    @contextmanager
    def _told_as_damage(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError, KeyError) as error:
            raise RegistryError(
                f"{self.path}: damaged ({error}); bring back a copy of it. Removed while workers "
                "run, it is written again by them; removed before a start, nothing is taken down"
            ) from None


class _Sight(NamedTuple):
    """What a look at the file shows without reading all of it.

    Any write to it changes the time of its last change, which nobody can set; a new file in its
    place has another number.

    Attributes:
        head: Its first line, or as much as a header may have.
        inode: Its number.
        size: In bytes.
        changed: Time of its last change, in ns.
    """

    head: bytes
    inode: int
    size: int
    changed: int

    @classmethod
    def of(cls, file: BinaryIO) -> "_Sight":
        """Look at an open file, and leave off behind its head."""
        status = os.fstat(file.fileno())
        head = file.readline(_MAX_HEADER_BYTES)
        return cls(head, status.st_ino, status.st_size, status.st_ctime_ns)

    def is_of(self, ledger: Ledger) -> bool:
        """Tell whether the file, which is sound, holds this state."""
        return _stamp_of(_parse_header(self.head)) == ledger.stamp


def _parse_header(line: bytes) -> dict[str, Any]:
    header = orjson.loads(line)
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise ValueError(f"the first line is no header of format {_FORMAT}")
    return header


def _stamp_of(header: dict[str, Any]) -> tuple[str, int]:
    return str(header["origin"]), int(header["revision"])


def _checked(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and what follows it, which is what the header says."""
    first, _, body = content.partition(b"\n")
    header = _parse_header(first)
    if header["sha256"] != sha256(body).hexdigest():
        raise ValueError("the SHA-256 in its first line differs")
    return header, body


def _parse(content: bytes) -> Ledger:
    header, body = _checked(content)
    takedowns = [Takedown(**orjson.loads(line)) for line in body.splitlines()]
    origin, revision = _stamp_of(header)
    return Ledger(origin, revision, {each.item_id: each for each in takedowns})
