"""Which old versions of a registry can go, and how they go."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Pruned(NamedTuple):
    """A version that was removed, or would be.

    Attributes:
        version: Its name.
        bytes: What its files took; free once no worker has them mapped any more.
    """

    version: str
    bytes: int


def prunable(published: list[str], keep: int, spared: Iterable[str | None]) -> list[str]:
    """Choose the versions that can go.

    Args:
        published: All versions, oldest first.
        keep: How many of the newest stay, at least 1.
        spared: Versions that stay besides, however old.

    Returns:
        Oldest first.

    Raises:
        ValueError: ``keep`` is below 1.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}, expected at least 1")
    stay = {*published[-keep:], *spared}
    return [version for version in published if version not in stay]


def size_of(folder: Path) -> int:
    """Add up the files of a folder, in bytes."""
    return sum(each.lstat().st_size for each in folder.rglob("*") if not each.is_dir())
