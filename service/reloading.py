"""Each worker follows CURRENT by itself and swaps bundles without missing a request.

A new bundle is opened, checked and warmed up in a thread beside the live one, in small parts with
rests between them, so that requests hardly notice; then one reference changes. A bundle that
fails, or is not there (yet), is refused with the reason and the old one goes on serving;
``retrying`` says when it is tried again.
"""

import asyncio
import logging
import os
import random
import time
from contextlib import suppress
from datetime import datetime

from index.bundles.bundle import Bundle, open_bundle
from index.bundles.manifest import read_manifest
from index.registry.registry import BUNDLES, CURRENT_FILE, Registry
from model.errors import OpalError, RegistryError
from service.answering.matching import match
from service.api.answers import BundlesAnswer, BundleState, SwapAnswer
from service.api.problems import BundleRefused, NotFound
from service.api.query import Query
from service.live.live import LiveBundle
from service.monitoring.metrics import Metrics
from service.retrying import RetryPause, Sight, stamps_of

_WARM_UP_HISTORY = 20

# There are some 50 parts, most of which take less than a millisecond at 20,000 items.
_REST_SECONDS = 0.005

_logger = logging.getLogger(__name__)


class BundleFollower:
    """Keeps a worker on the bundle that CURRENT names.

    Args:
        registry: Whose CURRENT to follow.
        live: Reference to change.
        metrics: Told of every swap and refusal.
        interval: Seconds between two looks at CURRENT, a quarter more or less: workers that look at
            the same moment would all be slow at the same moment.
        threads: Threads of one search.

    Attributes:
        refused: Why a version was refused, by version.
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
        self._retry = RetryPause()
        self._swapping = asyncio.Lock()
        self.refused: dict[str, str] = {}

    async def follow(self) -> None:
        """Look at CURRENT again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._interval * random.uniform(0.75, 1.25))
            try:
                await self.look()
            except BundleRefused:
                pass  # logged and counted; the old bundle goes on
            except (OpalError, OSError) as error:
                # A registry on a shared volume may be away for a while.
                _logger.warning("cannot read CURRENT: %s", error)
            except Exception:
                # Nobody watches this task: whatever happens, it must look again.
                _logger.exception("following CURRENT failed; it goes on")

    async def look(self, *, again: bool = False) -> SwapAnswer | None:
        """Go to the bundle that CURRENT names, if it is another.

        Args:
            again: Try it even if it was refused a moment ago; once it serves, the other workers
                look again too.

        Returns:
            What is served now, or None while CURRENT names nothing or what is refused for now.

        Raises:
            BundleRefused: The bundle must not go live.
            RegistryError: CURRENT cannot be read.
        """
        async with self._swapping:
            version = await asyncio.to_thread(self._registry.current)
            if version is None:
                return None
            if version == self._live.version:
                self._retry.forget()
                answer = SwapAnswer(bundle_version=version, previous=version)
            else:
                sight = await asyncio.to_thread(self._sight, version)
                if not again and not self._retry.is_due(sight):
                    return None
                try:
                    answer = self._swap(await self._open(version))
                except BundleRefused:
                    self._retry.refused(sight)
                    raise
            if again:
                await asyncio.to_thread(self._wake_others)
            return answer

    async def go_to(self, version: str) -> SwapAnswer:
        """Check a bundle, make it CURRENT and serve it.

        Raises:
            NotFound: The registry has no such version.
            BundleRefused: It must not go live; CURRENT stays as it is.
        """
        async with self._swapping:
            try:
                await asyncio.to_thread(self._registry.bundle_path, version)
            except RegistryError as error:
                raise NotFound(str(error)) from error
            bundle = await self._open(version)
            try:
                await asyncio.to_thread(self._registry.activate, version)
            except OpalError as error:
                raise BundleRefused(str(error)) from error
            # If it was CURRENT already, nothing was written that others could see.
            await asyncio.to_thread(self._wake_others)
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
            except BundleRefused as refused:
                # Only the registry knows what was live before, and it tells by going there.
                if before is not None:
                    await self._take_back(before, refused)
                raise
            return self._swap(bundle)

    def describe(self) -> BundlesAnswer:
        """List the bundles of the registry, newest first. Reads files: not for the event loop."""
        try:
            current = self._registry.current()
        except (RegistryError, OSError):
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
            model=None,
            items=None,
            index=None,
            metrics={},
            current=version == current,
            live=version == self._live.version,
            refused=self.refused.get(version),
        )
        try:
            manifest = read_manifest(self._registry.bundle_path(version))
        except (OpalError, OSError) as error:
            state["refused"] = state["refused"] or str(error)
            return state
        state["created"], state["model"] = manifest.created, manifest.model.name
        state["items"] = manifest.catalog.items
        state["index"], state["metrics"] = manifest.index.kind, manifest.metrics.model_dump()
        return state

    async def _open(self, version: str) -> Bundle:
        try:
            bundle = await asyncio.to_thread(self._open_warm, version)
        except Exception as error:
            # Whatever a damaged file makes a library raise, the old bundle must go on serving.
            expected = isinstance(error, OpalError | OSError)
            reason = str(error) if expected else f"{type(error).__name__}: {error}"
            news = self.refused.get(version) != reason
            self.refused[version] = reason
            self._metrics.reloads.labels("refused").inc()
            # A refusal needs no traceback: its message is written for the person who published.
            _logger.log(
                logging.ERROR if news else logging.DEBUG,
                "bundle %s refused: %s",
                version,
                reason,
                exc_info=None if expected else error,
            )
            raise BundleRefused(f"{version}: {reason}") from error
        self.refused.pop(version, None)
        return bundle

    def _open_warm(self, version: str) -> Bundle:
        """Open a bundle with all its checks and answer one request, so that nothing is cold."""
        path = self._registry.bundle_path(version)
        bundle = open_bundle(path, threads=self._threads, rest=self._rest)
        rows = bundle.catalog.popular[:_WARM_UP_HISTORY]
        query = Query(history=tuple(bundle.catalog.ids_of(rows)), explain=True)
        match(bundle, query, withheld=self._live.takedowns.on(bundle).items)
        return bundle

    def _rest(self) -> None:
        """Leave the processor to the requests, where there can be some."""
        if self._live.version is not None:
            time.sleep(_REST_SECONDS)

    def _sight(self, version: str) -> Sight:
        root = self._registry.path
        return Sight(version, stamps_of(root / CURRENT_FILE, root / BUNDLES / version))

    def _wake_others(self) -> None:
        """Touch CURRENT, so that workers that refused it try again at their next turn."""
        # Where this must not be written they try again all the same, only later.
        with suppress(OSError):
            os.utime(self._registry.path / CURRENT_FILE)

    async def _take_back(self, version: str, refused: BundleRefused) -> None:
        """Make CURRENT what it was before a rollback.

        Raises:
            BundleRefused: That failed too; tells both.
        """
        try:
            await asyncio.to_thread(self._registry.activate, version)
        except (OpalError, OSError) as error:
            raise BundleRefused(
                f"{refused.detail}; CURRENT could not be set back to {version} ({error}): "
                "activate a version"
            ) from error

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
