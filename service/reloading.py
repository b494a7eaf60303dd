"""Each worker follows CURRENT by itself and swaps bundles without missing a request.

A new bundle is opened, checked and warmed up in a thread beside the live one; then one reference
changes. A bundle that fails is refused with the reason and the old one goes on serving.
"""

import asyncio
import logging
from datetime import datetime
from pathlib import Path

from index.bundle import Bundle, open_bundle
from index.manifest import read_manifest
from index.registry import Registry
from model.errors import OpalError, RegistryError
from service.answers import BundlesAnswer, BundleState, SwapAnswer
from service.live import LiveBundle
from service.matching import match
from service.metrics import Metrics
from service.problems import BundleRefused, NotFound
from service.query import Query

_WARM_UP_HISTORY = 20

_logger = logging.getLogger(__name__)


class BundleFollower:
    """Keeps a worker on the bundle that CURRENT names.

    Args:
        registry: Whose CURRENT to follow.
        live: Reference to change.
        metrics: Told of every swap and refusal.
        interval: Seconds between two looks at CURRENT.
        threads: Threads of one search.

    Attributes:
        refused: Why a version was refused, by version. It is tried again when CURRENT comes back
            to it from elsewhere or ``POST /admin/reload`` asks.
    """

    def __init__(
        self,
        registry: Registry,
        live: LiveBundle,
        metrics: Metrics,
        *,
        interval: float,
        threads: int = 1,
    ) -> None:
        self._registry = registry
        self._live = live
        self._metrics = metrics
        self._interval = interval
        self._threads = threads
        self._seen: str | None = None
        self._swapping = asyncio.Lock()
        self.refused: dict[str, str] = {}

    async def follow(self) -> None:
        """Look at CURRENT again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.look()
            except BundleRefused:
                pass  # logged and counted; the old bundle goes on
            except (OpalError, OSError) as error:
                # A registry on a shared volume may be away for a while.
                _logger.warning("cannot read CURRENT: %s", error)

    async def look(self, *, again: bool = False) -> SwapAnswer | None:
        """Go to the bundle that CURRENT names, if it is another.

        Args:
            again: Try it even if it was refused before.

        Returns:
            What is served now, or None while CURRENT names nothing.

        Raises:
            BundleRefused: The bundle must not go live.
            RegistryError: CURRENT cannot be read.
        """
        async with self._swapping:
            version = await asyncio.to_thread(self._registry.current)
            changed = version != self._seen
            self._seen = version
            if version is None:
                return None
            if version == self._live.version:
                return SwapAnswer(bundle_version=version, previous=version)
            if not (changed or again):
                return None
            return self._swap(await self._open(version))

    async def go_to(self, version: str) -> SwapAnswer:
        """Check a bundle, make it CURRENT and serve it.

        Raises:
            NotFound: The registry has no such version.
            BundleRefused: It must not go live; CURRENT stays as it is.
        """
        async with self._swapping:
            bundle = await self._open(version)
            try:
                await asyncio.to_thread(self._registry.activate, version)
            except OpalError as error:
                raise BundleRefused(str(error)) from error
            self._seen = version
            return self._swap(bundle)

    async def roll_back(self) -> SwapAnswer:
        """Make the bundle CURRENT that was live before, and serve it.

        Raises:
            BundleRefused: There is none, or it must not go live; CURRENT is as it was.
        """
        async with self._swapping:
            before = await asyncio.to_thread(self._registry.current)
            try:
                version = await asyncio.to_thread(self._registry.rollback)
            except OpalError as error:
                raise BundleRefused(str(error)) from error
            try:
                bundle = await self._open(version)
            except BundleRefused:
                # Only the registry knows what was live before, and it tells by going there.
                if before is not None:
                    await asyncio.to_thread(self._registry.activate, before)
                raise
            self._seen = version
            return self._swap(bundle)

    def describe(self) -> BundlesAnswer:
        """List the bundles of the registry, newest first. Reads files: not for the event loop."""
        try:
            current = self._registry.current()
        except RegistryError:
            current = None
        versions = reversed(self._registry.versions())
        return BundlesAnswer(
            live=self._live.version,
            current=current,
            bundles=[self._describe(version, current) for version in versions],
        )

    def _describe(self, version: str, current: str | None) -> BundleState:
        state = BundleState(
            version=version,
            created=None,
            items=None,
            index=None,
            metrics={},
            current=version == current,
            live=version == self._live.version,
            refused=self.refused.get(version),
        )
        try:
            manifest = read_manifest(self._registry.bundle_path(version))
        except OpalError as error:
            state["refused"] = state["refused"] or str(error)
            return state
        state["created"], state["items"] = manifest.created, manifest.catalog.items
        state["index"], state["metrics"] = manifest.index.kind, manifest.metrics.model_dump()
        return state

    async def _open(self, version: str) -> Bundle:
        try:
            path = self._registry.bundle_path(version)
        except RegistryError as error:
            raise NotFound(str(error)) from error
        try:
            bundle = await asyncio.to_thread(_open_warm, path, self._threads)
        except Exception as error:
            # Whatever a damaged file makes a library raise, the old bundle must go on serving.
            expected = isinstance(error, OpalError | OSError)
            reason = str(error) if expected else f"{type(error).__name__}: {error}"
            self.refused[version] = reason
            self._metrics.reloads.labels("refused").inc()
            # A refusal needs no traceback: its message is written for the person who published.
            _logger.log(
                logging.ERROR,
                "bundle %s refused: %s",
                version,
                reason,
                exc_info=None if expected else error,
            )
            raise BundleRefused(f"{version}: {reason}") from error
        self.refused.pop(version, None)
        return bundle

    def _swap(self, bundle: Bundle) -> SwapAnswer:
        previous = self._live.swap(bundle)
        _logger.info("bundle %s is live, before: %s", bundle.version, previous)
        manifest = bundle.manifest
        self._metrics.note_bundle(
            version=manifest.version,
            model=manifest.model.name,
            index_kind=manifest.index.kind,
            created=datetime.fromisoformat(manifest.created).timestamp(),
            items=manifest.catalog.items,
        )
        return SwapAnswer(bundle_version=bundle.version, previous=previous)


def _open_warm(path: Path, threads: int) -> Bundle:
    """Open a bundle with all its checks and answer one request, so that nothing is cold."""
    bundle = open_bundle(path, threads=threads)
    rows = bundle.catalog.popular[:_WARM_UP_HISTORY]
    match(bundle, Query(history=tuple(bundle.catalog.ids_of(rows)), explain=True))
    return bundle
