"""Which versions were live before the present one: what a registry can roll back to."""

import json
from datetime import UTC, datetime
from pathlib import Path

from model.errors import RegistryError
from model.files import replace_file

HISTORY_FILE = "history.json"


class LiveHistory:
    """A stack of versions in a file, the latest last; replaced atomically.

    Args:
        folder: The registry.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / HISTORY_FILE

    def push(self, version: str) -> None:
        """Note that a version is about to be live no longer."""
        until = datetime.now(UTC).isoformat(timespec="seconds")
        self._write([*self._read(), {"version": version, "until": until}])

    def before(self, current: str | None, published: list[str]) -> list[str]:
        """Return the versions that were live before, the latest last, without those removed.

        A writer killed half-way may have left ``current`` itself at the end; it does not count.

        Raises:
            RegistryError: The file is damaged.
        """
        versions = [entry["version"] for entry in self._read() if entry["version"] in published]
        while versions and versions[-1] == current:
            versions.pop()
        return versions

    def forget_from(self, version: str) -> None:
        """Remove the last entry of a version, which is live again, and those after it."""
        entries = self._read()
        last = max(place for place, entry in enumerate(entries) if entry["version"] == version)
        self._write(entries[:last])

    def keep_only(self, published: list[str]) -> None:
        """Forget versions that were removed, so that one published anew was not live before."""
        entries = self._read()
        kept = [entry for entry in entries if entry["version"] in published]
        if kept != entries:
            self._write(kept)

    def _read(self) -> list[dict[str, str]]:
        try:
            entries = json.loads(self.path.read_text(encoding="utf-8"))
            return [{"version": entry["version"], "until": entry["until"]} for entry in entries]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError) as error:
            raise RegistryError(
                f"{self.path}: damaged ({error}); remove it and activate a version"
            ) from None

    def _write(self, entries: list[dict[str, str]]) -> None:
        replace_file(self.path, json.dumps(entries, indent=2) + "\n")
