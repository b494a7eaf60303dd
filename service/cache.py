"""Where answers are kept, and what identifies one.

A key holds the bundle's version and the epoch of the takedowns, so that a swap or a takedown makes
every older entry unreachable at once.
``user_id`` is not part of it: two users with the same history and the same wishes get the same
answer.
"""

import hashlib
from typing import Protocol

import orjson
from cachetools import TTLCache

from service.query import Query


class AnswerCache(Protocol):
    """Keeps answers for a while. Never raises: a failure is a miss."""

    async def get(self, key: str) -> bytes | None:
        """Return what was put under ``key``, or None."""

    async def put(self, key: str, answer: bytes) -> None:
        """Keep ``answer`` under ``key``."""

    async def close(self) -> None:
        """Give back what the cache holds."""


class NullCache:
    """Keeps nothing (``OPAL_CACHE_TTL=0``)."""

    async def get(self, key: str) -> bytes | None:  # noqa: ARG002 - the protocol's signature
        """Return None: always a miss."""
        return None

    async def put(self, key: str, answer: bytes) -> None:
        """Forget the answer."""

    async def close(self) -> None:
        """Do nothing."""


class MemoryCache:
    """Keeps answers in the process, the least recently used ones going first.

    Bounded by bytes and not by entries: an answer takes from 1 KB to some 300 KB (1000 explained
    candidates), and memory is what runs out.

    Args:
        ttl: Seconds that an answer is kept.
        max_bytes: Memory for the answers, without some 200 bytes of overhead for each.
    """

    def __init__(self, *, ttl: float, max_bytes: int) -> None:
        self._answers: TTLCache[str, bytes] = TTLCache(max_bytes, ttl, getsizeof=len)

    async def get(self, key: str) -> bytes | None:
        """See ``AnswerCache.get``."""
        return self._answers.get(key)

    async def put(self, key: str, answer: bytes) -> None:
        """See ``AnswerCache.put``; an answer that is larger than the cache is not kept."""
        if len(answer) <= self._answers.maxsize:
            self._answers[key] = answer

    async def close(self) -> None:
        """Forget all answers."""
        self._answers.clear()


_FORMAT = 2
"""Of keys and stored answers. Raise it with any change to ``answers.StoredAnswer`` or to what
``redis_cache`` stores: workers of two releases may share one Redis during an upgrade."""


def cache_key(bundle_version: str, epoch: str, query: Query) -> str:
    """Return the key of what determines an answer.

    Args:
        bundle_version: The bundle that answers.
        epoch: Digest of the takedowns in force (``index.takedowns.Ledger.epoch``).
        query: Every field of it counts.
    """
    digest = hashlib.blake2b(orjson.dumps(query), digest_size=16).hexdigest()
    return f"opal:match:{_FORMAT}:{bundle_version}:{epoch}:{digest}"
