"""Takedowns: the items that must not be served any more. Knows neither files nor bundles."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from types import MappingProxyType
from typing import NamedTuple

_EPOCH_BYTES = 12


class Takedown(NamedTuple):
    """One item that must not be served.

    Attributes:
        item_id: The item; no bundle needs to know it.
        since: When it was taken down, ISO 8601 in UTC.
        reason: Why, in somebody's words.
    """

    item_id: str
    since: str
    reason: str | None = None


@dataclass(frozen=True)
class Ledger:
    """All takedowns at one moment, and where in their history that moment is.

    Origin and revision together name one state. A store that lost what it had goes on under
    another origin, so that nobody takes its counting for the one before.

    Attributes:
        origin: Random name of this history; empty for a ledger that no store holds.
        revision: Changes so far.
        takedowns: By item id; never changed.
    """

    origin: str = ""
    revision: int = 0
    takedowns: Mapping[str, Takedown] = field(default_factory=lambda: MappingProxyType({}))

    def __repr__(self) -> str:
        return f"<Ledger {self.origin} {self.revision}, {len(self.takedowns)} takedowns>"

    @classmethod
    def begin(cls) -> "Ledger":
        """Return the first, empty state of a new history."""
        return cls(new_origin())

    @property
    def stamp(self) -> tuple[str, int]:
        """Origin and revision: equal stamps, equal takedowns."""
        return self.origin, self.revision

    @cached_property
    def epoch(self) -> str:
        """A digest of the item ids, the same wherever the same items are taken down."""
        digest = blake2b(digest_size=_EPOCH_BYTES)
        for item_id in sorted(self.takedowns):
            encoded = item_id.encode()
            digest.update(b"%d:%b" % (len(encoded), encoded))
        return digest.hexdigest()

    def put(self, takedown: Takedown) -> "Ledger":
        """Return the state with a takedown more.

        Of an item that is taken down already the time stays; so does the reason, unless another
        one is given. Nothing new gives this very state.
        """
        known = self.takedowns.get(takedown.item_id)
        if known is not None:
            if takedown.reason in {None, known.reason}:
                return self
            takedown = known._replace(reason=takedown.reason)
        return self._next({**self.takedowns, takedown.item_id: takedown})

    def lift(self, item_id: str) -> "Ledger":
        """Return the state without a takedown; this very state where there is none."""
        if item_id not in self.takedowns:
            return self
        return self._next({key: each for key, each in self.takedowns.items() if key != item_id})

    def follows(self, known: "Ledger") -> bool:
        """Tell whether this state came after ``known``, so that nothing of that was lost."""
        is_later = self.origin == known.origin and self.revision >= known.revision
        return is_later or not known.takedowns

    def joined(self, known: "Ledger") -> "Ledger":
        """Return the state with every takedown of ``known`` that it lost.

        What was lifted in between is taken down again: of the two mistakes the harmless one.
        """
        if self.follows(known):
            return self
        joined = {**known.takedowns, **self.takedowns}
        if self.origin == known.origin:  # gone back: its counting must not meet that of others
            return replace(self._next(joined), origin=new_origin())
        return self if len(joined) == len(self.takedowns) else self._next(joined)

    def _next(self, takedowns: dict[str, Takedown]) -> "Ledger":
        return Ledger(self.origin, self.revision + 1, MappingProxyType(takedowns))


def new_origin() -> str:
    """Make a name that no other history has."""
    return uuid.uuid4().hex
