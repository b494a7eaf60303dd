"""Write folders and files so that nothing half-written is ever taken for whole."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model.errors import InputError

STAGING_PREFIX = ".staging-"


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder: fill a staging folder beside it, sync, rename. A failure leaves nothing.

    Args:
        path: The folder to make.

    Yields:
        The staging folder to write into.

    Raises:
        InputError: ``path`` exists.
    """
    if path.exists():
        raise InputError(f"{path}: exists already; choose another name or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.parent / f"{STAGING_PREFIX}{path.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    staging.mkdir()
    try:
        yield staging
        for file in staging.rglob("*"):
            if file.is_file():
                sync(file)
        sync(staging)
        staging.rename(path)
        sync(path.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def replace_file(path: Path, content: bytes | str) -> None:
    """Replace a small file atomically: readers see the old content or the new, never a mixture."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f"{STAGING_PREFIX}{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_bytes(data)
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not JSON, or JSON of another kind.
    """
    value = json.loads(path.read_text())
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
