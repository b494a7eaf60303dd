"""Where takedowns are kept, so that every worker comes to the same ones; and the store in a file.

A store that lost something (a file that was removed, a Redis that came back empty or with an old
snapshot) gets it back from the first worker that notices.
"""

import asyncio
from typing import NamedTuple, Protocol

from index.takedowns.takedown_file import TakedownFile
from index.takedowns.takedowns import Ledger, Takedown
from service.api.problems import TooManyTakedowns


class Put(NamedTuple):
    """What became of a takedown.

    Attributes:
        takedown: As it is stored.
        is_new: It was not there before.
    """

    takedown: Takedown
    is_new: bool


class TakedownStore(Protocol):
    """Keeps the takedowns of all workers.

    Every method raises ``TakedownsUnusable``, ``RegistryError`` or ``OSError`` where the store
    cannot do it; then it did not, or (where an answer got lost) a repeated call finds it done.
    """

    async def last_known(self) -> Ledger:
        """Return what this machine knew last, for the time until ``refresh`` can tell."""

    async def refresh(self, known: Ledger) -> Ledger:
        """Return the present state: ``known`` itself where nothing changed since.

        What the store lost of ``known`` is put back.
        """

    async def put(self, takedown: Takedown) -> Put:
        """Add a takedown; of one that is there the time stays, and the reason if none is given.

        Raises:
            TooManyTakedowns: There are as many as the settings allow.
        """

    async def lift(self, item_id: str) -> Takedown | None:
        """Remove a takedown and return it; None where there is none."""

    async def close(self) -> None:
        """Give back what the store holds."""


class FileTakedowns:
    """A ``TakedownStore`` in the registry, for all workers on this volume.

    Args:
        file: Where.
        most: How many takedowns are allowed.
    """

    def __init__(self, file: TakedownFile, *, most: int) -> None:
        self._file = file
        self._most = most

    async def last_known(self) -> Ledger:
        """See ``TakedownStore.last_known``; here it is the present state."""
        return await asyncio.to_thread(self._file.read) or Ledger()

    async def refresh(self, known: Ledger) -> Ledger:
        """See ``TakedownStore.refresh``."""
        return await asyncio.to_thread(self._refresh, known)

    async def put(self, takedown: Takedown) -> Put:
        """See ``TakedownStore.put``."""

        def edit(ledger: Ledger) -> Ledger:
            if takedown.item_id not in ledger.takedowns:
                check_room(len(ledger.takedowns), self._most)
            return ledger.put(takedown)

        before, after = await asyncio.to_thread(self._file.change, edit)
        item_id = takedown.item_id
        return Put(after.takedowns[item_id], item_id not in before.takedowns)

    async def lift(self, item_id: str) -> Takedown | None:
        """See ``TakedownStore.lift``."""
        before, _ = await asyncio.to_thread(self._file.change, lambda ledger: ledger.lift(item_id))
        return before.takedowns.get(item_id)

    async def close(self) -> None:
        """Do nothing."""

    def _refresh(self, known: Ledger) -> Ledger:
        ledger = self._file.read_again(known)
        if ledger is None and not known.takedowns:
            return known
        if ledger is None or not ledger.follows(known):
            _, ledger = self._file.change(lambda present: present.joined(known))
        return ledger


def check_room(count: int, most: int) -> None:
    """Refuse one more where there are as many as allowed.

    Raises:
        TooManyTakedowns: There are.
    """
    if count >= most:
        raise TooManyTakedowns(
            f"{count} items are taken down already; lift some, leave items out of the next "
            "bundle, or raise OPAL_MAX_TAKEDOWNS"
        )
