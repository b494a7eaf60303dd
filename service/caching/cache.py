"""Where answers are kept, and what identifies one.

A key holds the bundle's version and the epoch of the takedowns, so that a swap or a takedown makes
every older entry unreachable at once, in every tier.
``user_id`` is not part of it: two users with the same history and the same wishes get the same
answer.
"""

import hashlib
from typing import Protocol

import orjson

from service.api.query import Query
from service.caching.lives import Lives
from service.caching.memory_cache import MemoryCache


class SharedCache(Protocol):
    """Keeps answers for several workers. Never raises: a failure is a miss."""

    async def get(self, key: str, *, deadline: float | None = None) -> bytes | None:
        """Return what was put under ``key``.

        None asks the caller to compute the answer, then to ``put`` it or to ``give_up``: others
        may be waiting for it.

        Args:
            key: What was asked.
            deadline: ``time.monotonic()`` after which nobody waits for the answer.
        """

    async def put(self, key: str, answer: bytes) -> None:
        """Keep ``answer`` under ``key``."""

    def give_up(self, key: str) -> None:
        """Say that whom ``get`` gave nothing under ``key`` will put nothing there."""

    async def close(self) -> None:
        """Give back what the cache holds."""


class AnswerCache(SharedCache, Protocol):
    """A ``SharedCache``, and what can be had of it without waiting."""

    @property
    def is_shared(self) -> bool:
        """Whether ``get`` may find something that ``recall`` did not."""

    def recall(self, key: str) -> bytes | None:
        """Return what this process itself keeps under ``key``, or None."""

    def keep(self, key: str, answer: bytes) -> None:
        """Keep ``answer`` under ``key`` in this process only."""


class NullCache:
    """Keeps nothing: ``OPAL_CACHE_TTL=0``, or no Redis behind the memory."""

    @property
    def is_shared(self) -> bool:
        """False: nobody else keeps anything here either."""
        return False

    def recall(self, key: str) -> bytes | None:  # noqa: ARG002 - the protocol's signature
        """Return None: always a miss."""
        return None

    def keep(self, key: str, answer: bytes) -> None:
        """Forget the answer."""

    async def get(
        self,
        key: str,  # noqa: ARG002
        *,
        deadline: float | None = None,  # noqa: ARG002
    ) -> bytes | None:
        """Return None: always a miss."""
        return None

    async def put(self, key: str, answer: bytes) -> None:
        """Forget the answer."""

    def give_up(self, key: str) -> None:
        """Do nothing: nobody waits."""

    async def close(self) -> None:
        """Do nothing."""


class TieredCache:
    """An ``AnswerCache``: the process' own memory before what workers share.

    The memory keeps what was computed here and what was found in the shared tier, as it is sent.

    Args:
        memory: Asked first, at no cost worth mentioning.
        shared: Asked for what the memory does not have.
        lives: How long an answer is kept where, so that it is no older in all than it may be.
    """

    def __init__(self, memory: MemoryCache, shared: SharedCache, lives: Lives) -> None:
        self._memory = memory
        self._shared = shared
        self._lives = lives

    @property
    def is_shared(self) -> bool:
        """See ``AnswerCache.is_shared``."""
        return not isinstance(self._shared, NullCache)

    def recall(self, key: str) -> bytes | None:
        """See ``AnswerCache.recall``."""
        return self._memory.recall(key)

    def keep(self, key: str, answer: bytes) -> None:
        """See ``AnswerCache.keep``."""
        self._memory.keep(key, answer, self._lives.of_own())

    async def get(self, key: str, *, deadline: float | None = None) -> bytes | None:
        """See ``SharedCache.get``."""
        answer = await self._shared.get(key, deadline=deadline)
        if answer is not None:
            self._memory.keep(key, answer, self._lives.of_copy())
        return answer

    async def put(self, key: str, answer: bytes) -> None:
        """See ``SharedCache.put``."""
        self.keep(key, answer)
        await self._shared.put(key, answer)

    def give_up(self, key: str) -> None:
        """See ``SharedCache.give_up``."""
        self._shared.give_up(key)

    async def close(self) -> None:
        """Forget the memory's answers and close the shared tier."""
        self._memory.clear()
        await self._shared.close()


_FORMAT = 3
"""Of keys and stored answers. Raise it with any change to ``service.api.answers.StoredAnswer`` or
to what ``sealing`` and ``redis_cache`` store: workers of two releases may share one Redis during
an upgrade."""


def cache_key(bundle_version: str, epoch: str, query: Query) -> str:
    """Return the key of what determines an answer.

    Args:
        bundle_version: The bundle that answers.
        epoch: Digest of the takedowns in force (``index.takedowns.takedowns.Ledger.epoch``).
        query: Every field of it counts.
    """
    digest = hashlib.blake2b(orjson.dumps(query), digest_size=16).hexdigest()
    return f"opal:match:{_FORMAT}:{bundle_version}:{epoch}:{digest}"
