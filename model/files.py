"""Write folders and files so that nothing half-written is ever taken for whole."""

import fcntl
import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from model.errors import InputError

STAGING_PREFIX = ".staging-"

_ABANDONED = 86_400.0
"""Seconds without a change after which what is staged beside a new folder is swept, whatever its
name: long enough to be sure of a dead writer where a file system's locks reach one machine only."""


@contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Make a folder: fill a staging folder beside it, sync, rename. A failure leaves nothing.

    What a writer of the same folder left when it was killed is removed first, and what writers of
    others left in the same place a day ago: folders that are named by date are made once.

    Args:
        path: The folder to make.
        replace: Take the place of a folder that is there. It stays until the new one is whole.

    Yields:
        The staging folder to write into.

    Raises:
        InputError: ``path`` exists, and is not to be replaced.
    """
    if path.exists() and not replace:
        raise InputError(f"{path}: exists already; choose another name or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_staging(path.parent, name=path.name)
    sweep_staging(path.parent, idle=_ABANDONED)
    with _staging_folder(path) as staging:
        yield staging
        for file in staging.rglob("*"):
            if file.is_file():
                sync(file)
        sync(staging)
        if replace and path.exists():
            with _staging_folder(path) as old:
                path.rename(old / path.name)
                staging.rename(path)
        else:
            staging.rename(path)
        sync(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder: it loses its name at once, only then its files.

    Killed between, a remover leaves a staging folder, which the next writer sweeps away.

    Raises:
        OSError: It cannot be removed, or not all of it.
    """
    with _staging_folder(path) as staging:
        path.rename(staging / path.name)
        sync(path.parent)
        shutil.rmtree(staging)


def sweep_staging(folder: Path, *, name: str | None = None, idle: float = 0.0) -> None:
    """Remove what killed writers left in a folder; what a living one fills is locked, and stays.

    Args:
        folder: Where to look. Need not exist.
        name: Only staging folders of this folder's name; None: whatever is staged.
        idle: Only what nobody wrote to for so many seconds.
    """
    # As they are named below: somebody else's folder may begin alike.
    wanted = ".+-[0-9a-f]{8}" if name is None else re.escape(name) + "-[0-9]+-[0-9a-f]{8}"
    for debris in folder.glob(f"{STAGING_PREFIX}*"):
        if re.fullmatch(re.escape(STAGING_PREFIX) + wanted, debris.name) is None:
            continue
        with locked(debris) as mine:
            if mine and (not idle or _seconds_since_change(debris) > idle):
                logging.getLogger(__name__).info("Removing %s, left by a writer that died", debris)
                if debris.is_dir():
                    shutil.rmtree(debris, ignore_errors=True)
                else:
                    debris.unlink(missing_ok=True)


def _seconds_since_change(path: Path) -> float:
    """Return the age of the newest thing in a folder, or of a file; 0 where it just goes away."""
    try:
        newest = max(each.lstat().st_mtime for each in (path, *path.rglob("*")))
    except OSError:
        return 0.0
    return time.time() - newest


@contextmanager
def _staging_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside ``path``, locked as long as its writer lives; gone in the end."""
    staging = path.parent / f"{STAGING_PREFIX}{path.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    staging.mkdir()
    try:
        with locked(staging):
            yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # not there any more where all went well


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Try to lock a file or folder; the system frees the lock when its holder dies.

    A process id would not tell: in containers they repeat.

    Yields:
        Whether it is locked by us now; False where another holds it or it is gone.
    """
    try:
        # Where others may write too, it may be anything by that name: a pipe would make us wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        mine = False
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = True
        yield mine
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes | str) -> None:
    """Replace a small file atomically: readers see the old content or the new, never a mixture.

    Raises:
        OSError: It cannot be written, on a full disk for example; names the file.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f"{STAGING_PREFIX}{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_bytes(data)
        sync(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    sync(path.parent)


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not JSON, or JSON of another kind.
    """
    try:
        value = json.loads(path.read_text())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")  # noqa: TRY004
    return value


def sync(path: Path) -> None:
    """Make a file's or folder's content durable (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
