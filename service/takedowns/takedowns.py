"""Takedowns: an item that must not be served any more is served by no worker within a second.

The worker that is told writes to the store and follows it before it answers; the others look at a
small stamp several times a second. The store going away changes nothing of what is in force.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice

from index.takedowns.takedowns import Ledger, Takedown
from model.errors import OpalError
from service.api.answers import TakedownAnswer, TakedownPut, TakedownsAnswer
from service.api.problems import NotFound, TakedownsUnusable
from service.live.live import LiveBundle
from service.monitoring.metrics import Metrics
from service.takedowns.takedown_store import TakedownStore

# What a store may raise.
_UNUSABLE = (TakedownsUnusable, OpalError, OSError)

_logger = logging.getLogger(__name__)


class TakedownFollower:
    """Keeps a worker on the takedowns of its store.

    Args:
        store: Where they are kept.
        live: Told what not to serve.
        metrics: Told of every look.
        interval: Seconds between two looks.
    """

    def __init__(
        self, store: TakedownStore, live: LiveBundle, metrics: Metrics, *, interval: float
    ) -> None:
        self._store = store
        self._live = live
        self._metrics = metrics
        self._interval = interval
        self._looking = asyncio.Lock()
        self._problem: str | None = None

    async def start(self) -> None:
        """Put in force what is known, before anything is served.

        Raises:
            RegistryError: The file is damaged, and there is nothing else to go by.
            OSError: The file cannot be read, likewise.
        """
        damage: OpalError | OSError | None = None
        known = Ledger()
        try:
            known = await self._store.last_known()
        except (OpalError, OSError) as error:
            damage = error
        await self._apply(known)
        try:
            await self.look()
        except _UNUSABLE:
            if damage is not None:
                # Serving what must not be served is worse than not starting.
                raise damage from None
            _logger.warning("starting with the takedowns known last: %d", len(known.takedowns))
        if damage is not None:
            if not self._in_force.origin:
                raise damage
            _logger.warning("the copy of the takedowns is made anew: %s", damage)

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.look()
            except _UNUSABLE:
                pass  # logged and counted; what is in force stays
            except Exception:
                # Nobody watches this task: whatever happens, it must look again.
                _logger.exception("following the takedowns failed; it goes on")

    async def look(self) -> None:
        """Put in force what the store holds now.

        Raises:
            TakedownsUnusable: The store cannot tell; what is in force stays.
            RegistryError: Likewise, a file.
            OSError: Likewise.
        """
        # One after the other, so that an older state never comes after a newer one.
        async with self._looking:
            known = self._in_force
            try:
                ledger = await self._store.refresh(known)
                if ledger is not known:
                    await self._apply(ledger)
            except _UNUSABLE as error:
                self._note_problem(error)
                raise
            self._metrics.takedown_refreshes.labels(
                "unchanged" if ledger is known else "changed"
            ).inc()
            if self._problem is not None:
                _logger.info("takedowns can be followed again")
                self._problem = None

    async def put(self, item_id: str, reason: str | None) -> TakedownPut:
        """Take an item down; answers once this worker does not serve it.

        Raises:
            TooManyTakedowns: There are as many as the settings allow.
            TakedownsUnusable: The store cannot do it, or not say that it did.
            RegistryError: Likewise, a file.
            OSError: Likewise.
        """
        # First, so that a store that is away is not asked for a change that it may make later.
        await self.look()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        with self._noting_problems():
            put = await self._store.put(Takedown(item_id, since, reason))
        await self.look()
        if put.is_new:
            _logger.info("%r is taken down", item_id)
        return {**self._describe(put.takedown), "new": put.is_new}

    async def lift(self, item_id: str) -> TakedownAnswer:
        """Let an item be served again.

        Returns:
            The takedown as it was.

        Raises:
            NotFound: The item is not taken down.
            TakedownsUnusable: See ``put``; so are the other errors.
        """
        await self.look()
        with self._noting_problems():
            lifted = await self._store.lift(item_id)
        await self.look()
        if lifted is None:
            raise _not_taken_down(item_id)
        _logger.info("%r is taken down no longer", item_id)
        return self._describe(lifted)

    async def get(self, item_id: str) -> TakedownAnswer:
        """Describe a takedown.

        Raises:
            NotFound: The item is not taken down.
        """
        await self._look_if_possible()
        takedown = self._in_force.takedowns.get(item_id)
        if takedown is None:
            raise _not_taken_down(item_id)
        return self._describe(takedown)

    async def list(self, *, after: str, limit: int) -> TakedownsAnswer:
        """List takedowns by item id.

        Args:
            after: Begin behind this id.
            limit: Most to list.
        """
        await self._look_if_possible()
        takedowns = self._in_force.takedowns
        ids = list(islice((each for each in sorted(takedowns) if each > after), limit + 1))
        return TakedownsAnswer(
            count=len(takedowns),
            takedowns=[self._describe(takedowns[each]) for each in ids[:limit]],
            next=ids[limit - 1] if len(ids) > limit else None,
        )

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    @property
    def _in_force(self) -> Ledger:
        return self._live.takedowns.ledger

    async def _look_if_possible(self) -> None:
        """Look, so that an answer tells what any worker was told; else what this one goes by."""
        with suppress(*_UNUSABLE):
            await self.look()

    async def _apply(self, ledger: Ledger) -> None:
        await asyncio.to_thread(self._live.withhold, ledger)
        self._metrics.takedowns.set(len(ledger.takedowns))

    def _describe(self, takedown: Takedown) -> TakedownAnswer:
        item_id, since, reason = takedown
        known = self._live.knows(item_id)
        return TakedownAnswer(item_id=item_id, since=since, reason=reason, known=known)

    @contextmanager
    def _noting_problems(self) -> Iterator[None]:
        """Count and tell what a change meets, as a look does."""
        try:
            yield
        except _UNUSABLE as error:
            self._note_problem(error)
            raise

    def _note_problem(self, error: Exception) -> None:
        """Count it every time, tell it once."""
        self._metrics.takedown_refreshes.labels("failed").inc()
        problem = str(error)
        if problem != self._problem:
            count = len(self._in_force.takedowns)
            _logger.error("takedowns: %s (%d stay in force)", problem, count)
        self._problem = problem


def _not_taken_down(item_id: str) -> NotFound:
    return NotFound(f"item {item_id!r} is not taken down")
