"""The registry: a folder of bundles, one of which is CURRENT.

    bundles/<version>/  published bundles, immutable
    CURRENT             the version that serves; replaced atomically
    history.json        versions that were CURRENT before, for rollback; the latest is last
    .lock               held by whoever writes; readers need no lock

Killed at any moment, a writer leaves CURRENT as it was or as it was to be, and no half bundle;
what it was copying or removing lies in a staging folder, which the next writer sweeps away.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from index.bundles.bundle import check_files, open_bundle
from index.bundles.manifest import (
    Manifest,
    is_version_name,
    manifest_bytes,
    parse_manifest,
    read_manifest,
)
from index.registry.admission import Admission
from index.registry.bundle_copy import copy_bundle
from index.registry.live_history import LiveHistory
from index.registry.pruning import Pruned, prunable, size_of
from index.registry.registry_entry import RegistryEntry, describe
from model.errors import OpalError, RegistryError
from model.files import remove_folder, replace_file, sweep_staging

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
        current = self.current_or_none()
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

    def require_current(self, *, otherwise: str) -> str:
        """Return the version that serves.

        Args:
            otherwise: What else may be done where there is none, for the message.

        Raises:
            RegistryError: There is no registry, or CURRENT is not there or holds nonsense.
        """
        self.require()
        version = self.current()
        if version is None:
            raise RegistryError(
                f"{self.path}: has no CURRENT; `python -m index activate VERSION --registry "
                f"{self.path}`, or {otherwise}"
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

    def publish(
        self, bundle_path: Path, *, activate: bool = True, admission: Admission | None = None
    ) -> str:
        """Copy a bundle into the registry, and make it CURRENT.

        The bundle is checked before it is copied, and the copy again. Publishing what is already
        there changes nothing but, if asked, CURRENT; a copy there that is damaged is replaced.

        Args:
            bundle_path: What ``index build`` wrote.
            activate: Make it CURRENT.
            admission: Decides whether it is good enough to be CURRENT; None: every sound one is.

        Returns:
            Its version.

        Raises:
            BundleError: The bundle is damaged, or not good enough; nothing was copied.
        """
        manifest = open_bundle(bundle_path).manifest
        (self.path / BUNDLES).mkdir(parents=True, exist_ok=True)
        with self._writing():
            self._sweep()
            if activate:
                self._admit(manifest, admission)
            copy_bundle(bundle_path, self.path / BUNDLES / manifest.version, manifest)
            if activate:
                self._switch(manifest.version)
        return manifest.version

    def activate(self, version: str, *, admission: Admission | None = None) -> None:
        """Make a published bundle CURRENT.

        Args:
            version: Its name.
            admission: See ``publish``.

        Raises:
            RegistryError: It is not in the registry.
            BundleError: It is damaged, or not good enough.
        """
        self.bundle_path(version)
        with self._writing():
            path = self.bundle_path(version)  # again: until now it could have been pruned
            manifest = read_manifest(path)
            check_files(path, manifest)
            self._admit(manifest, admission)
            self._switch(version)

    def rollback(self) -> str:
        """Make CURRENT the version that was live before; called again, go further back.

        Returns:
            The version that is live now.

        Raises:
            RegistryError: None was live before that is still there.
            BundleError: It is damaged.
        """
        self.require()
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

    def prune(self, keep: int, *, dry_run: bool = False) -> list[Pruned]:
        """Remove old versions.

        CURRENT stays, and what a rollback would go to next. A worker that still serves a version
        that is removed has its files mapped and goes on.

        Args:
            keep: How many of the newest versions stay, at least 1.
            dry_run: Remove nothing.

        Returns:
            What was removed, or would be; oldest first.

        Raises:
            RegistryError: There is no registry, or what is or was live cannot be read.
        """
        self.require()
        with self._writing():
            if not dry_run:
                self._sweep()
            current, published = self.current(), self.versions()
            history = LiveHistory(self.path)
            spared = [current, *history.before(current, published)[-1:]]
            pruned = []
            for version in prunable(published, keep, spared):
                path = self.path / BUNDLES / version
                pruned.append(Pruned(version, size_of(path)))
                if not dry_run:
                    remove_folder(path)
            if not dry_run:
                history.keep_only(self.versions())
        return pruned

    def require(self) -> None:
        """Raise RegistryError where there is no registry."""
        if not self.path.is_dir():
            raise RegistryError(f"{self.path}: no registry here; publish a bundle to make one")

    def _admit(self, manifest: Manifest, admission: Admission | None) -> None:
        """Compare with what is CURRENT under the lock: nobody can put another in its place."""
        current = self.current_or_none()
        if admission is None or current is None or current == manifest.version:
            return
        try:
            path = self.bundle_path(current)
            # Whoever signed it: that says nothing against what it is compared with.
            live = parse_manifest(path, manifest_bytes(path))
        except OpalError as error:
            admission.pass_over(current, str(error))
        else:
            admission.judge(manifest, live)

    def _sweep(self) -> None:
        """Remove what killed writers left; whoever holds the lock is the only writer."""
        for folder in (self.path, self.path / BUNDLES):
            sweep_staging(folder)

    def _switch(self, version: str) -> None:
        """Make a version CURRENT; the history comes first, so that a kill between loses nothing."""
        current = self.current_or_none()
        if current == version:
            return
        if current is not None:
            LiveHistory(self.path).push(current)
        replace_file(self.path / CURRENT_FILE, version + "\n")

    def current_or_none(self) -> str | None:
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
