"""The registry: a folder of bundles, one of which is CURRENT.

    bundles/<version>/  published bundles, immutable
    CURRENT             the version that serves; replaced atomically
    history.json        versions that were CURRENT before, for rollback; the latest is last
    .lock               held by whoever writes; readers need no lock

Killed at any moment, a writer leaves CURRENT as it was or as it was to be, and no half bundle;
what it was copying lies in a staging folder, which the next publish sweeps away.
"""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from index.bundle import check_files, open_bundle
from index.live_history import LiveHistory
from index.manifest import MANIFEST_FILE, is_version_name, read_manifest
from index.registry_entry import RegistryEntry, describe
from index.tensor_files import copy_file
from model.errors import BundleError, RegistryError
from model.files import new_folder, replace_file, sweep_staging

CURRENT_FILE = "CURRENT"
LOCK_FILE = ".lock"
BUNDLES = "bundles"


class Registry:
    """A registry folder; made by the first publish.

    Args:
        path: The folder. Need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"<Registry {self.path}, current {self.current()}>"

    def versions(self) -> list[str]:
        """Return the published versions, oldest first."""
        folder = self.path / BUNDLES
        if not folder.is_dir():
            return []
        return sorted(each.name for each in folder.iterdir() if is_version_name(each.name))

    def entries(self) -> list[RegistryEntry]:
        """Describe the published versions, oldest first; a damaged one has its problem stated."""
        current = self._current_or_none()
        folder = self.path / BUNDLES
        return [describe(folder / name, live=name == current) for name in self.versions()]

    def current(self) -> str | None:
        """Return the version that serves, None where nothing was activated yet.

        Raises:
            RegistryError: CURRENT holds something else than a version's name.
        """
        try:
            version = (self.path / CURRENT_FILE).read_text(encoding="utf-8").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnicodeDecodeError:
            version = ""
        if not is_version_name(version):
            raise RegistryError(
                f"{self.path / CURRENT_FILE}: not a version's name; activate a version again"
            )
        return version

    def bundle_path(self, version: str) -> Path:
        """Return the folder of a published bundle.

        Raises:
            RegistryError: ``version`` is no version's name, or is not in the registry.
        """
        if not is_version_name(version):
            raise RegistryError(
                f"{version!r} is not a version's name; `list` shows those there are"
            )
        path = self.path / BUNDLES / version
        if not path.is_dir():
            raise RegistryError(
                f"{self.path}: has no bundle {version}; `list` shows those there are"
            )
        return path

    def publish(self, bundle_path: Path, *, activate: bool = True) -> str:
        """Copy a bundle into the registry, and make it CURRENT.

        The bundle is checked before it is copied, and the copy again. Publishing what is already
        there changes nothing but, if asked, CURRENT; a copy there that is damaged is replaced.

        Args:
            bundle_path: What ``index build`` wrote.
            activate: Make it CURRENT.

        Returns:
            Its version.

        Raises:
            BundleError: The bundle is damaged.
        """
        version = open_bundle(bundle_path).version
        (self.path / BUNDLES).mkdir(parents=True, exist_ok=True)
        with self._writing():
            for folder in (self.path, self.path / BUNDLES):
                sweep_staging(folder)  # whoever holds the lock is the only writer
            target = self.path / BUNDLES / version
            if not _is_whole(target):
                _copy_bundle(bundle_path, target)
            if activate:
                self._switch(version)
        return version

    def activate(self, version: str) -> None:
        """Make a published bundle CURRENT.

        Raises:
            RegistryError: It is not in the registry.
            BundleError: It is damaged.
        """
        path = self.bundle_path(version)
        with self._writing():
            check_files(path, read_manifest(path))
            self._switch(version)

    def rollback(self) -> str:
        """Make CURRENT the version that was live before; called again, go further back.

        Returns:
            The version that is live now.

        Raises:
            RegistryError: None was live before that is still there.
            BundleError: It is damaged.
        """
        if not self.path.is_dir():
            raise RegistryError(f"{self.path}: no registry here; publish a bundle to make one")
        with self._writing():
            current, published = self.current(), self.versions()
            history = LiveHistory(self.path)
            before = history.before(current, published)
            if not before:
                raise RegistryError(
                    f"{self.path}: no version was live before; nothing to go back to"
                )
            version = before[-1]
            path = self.bundle_path(version)
            check_files(path, read_manifest(path))
            replace_file(self.path / CURRENT_FILE, version + "\n")
            history.forget_from(version)
        return version

    def _switch(self, version: str) -> None:
        """Make a version CURRENT; the history comes first, so that a kill between loses nothing."""
        current = self._current_or_none()
        if current == version:
            return
        if current is not None:
            LiveHistory(self.path).push(current)
        replace_file(self.path / CURRENT_FILE, version + "\n")

    def _current_or_none(self) -> str | None:
        """Return CURRENT; a damaged one must not stand in the way of a good one."""
        try:
            return self.current()
        except RegistryError:
            return None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the registry's lock, which the system frees when its holder dies."""
        with (self.path / LOCK_FILE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _is_whole(bundle_path: Path) -> bool:
    """Tell whether a published bundle is there and as it was written."""
    if not bundle_path.exists():
        return False
    try:
        check_files(bundle_path, read_manifest(bundle_path))
    except BundleError as error:
        logging.getLogger(__name__).warning("Replacing a damaged copy: %s", error)
        return False
    return True


def _copy_bundle(source: Path, target: Path) -> None:
    """Copy what the manifest lists, check the copy, and only then give it its name."""
    manifest = read_manifest(source)
    with new_folder(target, replace=True) as folder:
        for name in [*manifest.files, MANIFEST_FILE]:
            copy_file(source / name, folder / name)
        try:
            check_files(folder, read_manifest(folder))
        except BundleError as error:
            raise BundleError(f"{source}: changed while it was copied ({error})") from error
