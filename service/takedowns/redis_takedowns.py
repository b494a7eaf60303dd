"""Takedowns in Redis, for all workers and machines, with a copy in the registry's file.

One hash holds everything, so that Redis changes, loses or evicts all of it or nothing. The copy is
what a start without Redis goes by, and what a Redis without persistence gets back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import RedisError

from index.takedowns.takedown_file import TakedownFile
from index.takedowns.takedowns import Ledger, Takedown, new_origin
from model.errors import OpalError
from service.api.problems import TakedownsUnusable
from service.monitoring.metrics import Metrics
from service.redis_url import redis_client
from service.settings import Settings
from service.takedowns.takedown_store import Put, check_room

KEY = "opal:takedowns"
_ORIGIN, _REVISION, _ITEM = b"origin", b"revision", b"item:"

# Seconds that a call may take. A takedown is rare and worth more patience than a cached answer,
# yet a worker that cannot reach Redis is to say so within the second.
_TIMEOUT = 0.5
# The look, a change, and one to spare.
_MAX_CONNECTIONS = 3

# A takedown is stored as its time, a space, and its reason (or nothing). Two fields are none:
# origin and revision.
_PUT = """
local key, field, since, reason = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local known = redis.call('HGET', key, field)
local value = since .. ' ' .. reason
if known then
  value = string.match(known, '^%S+') .. ' ' .. reason
  if reason == '' or value == known then return {0, known} end
elseif redis.call('HLEN', key) - 2 >= tonumber(ARGV[4]) then
  return {-1, ''}
end
redis.call('HSETNX', key, 'origin', ARGV[5])
redis.call('HINCRBY', key, 'revision', 1)
redis.call('HSET', key, field, value)
return {known and 0 or 1, value}
"""
_LIFT = """
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('HINCRBY', KEYS[1], 'revision', 1)
end
return known
"""
# As Ledger.joined: origin for a new history, then origin and revision of what is known, then it.
_JOIN = """
local key = KEYS[1]
local origin = redis.call('HGET', key, 'origin')
local revision = tonumber(redis.call('HGET', key, 'revision') or 0)
local changed = 0
if not origin or (origin == ARGV[2] and revision < tonumber(ARGV[3])) then
  redis.call('HSET', key, 'origin', ARGV[1])
  changed = 1
end
for i = 4, #ARGV, 2 do
  changed = changed + redis.call('HSETNX', key, ARGV[i], ARGV[i + 1])
end
if changed > 0 then redis.call('HINCRBY', key, 'revision', 1) end
return changed
"""

_logger = logging.getLogger(__name__)


class RedisTakedowns:
    """A ``TakedownStore`` in Redis.

    Args:
        redis: Client; its timeouts bound every call.
        copy: The file that follows what Redis holds.
        most: How many takedowns are allowed.
        metrics: Told when the copy cannot be written.
    """

    def __init__(self, redis: Redis, copy: TakedownFile, *, most: int, metrics: Metrics) -> None:
        self._redis = redis
        self._copy = copy
        self._most = most
        self._metrics = metrics
        self._copied: tuple[str, int] | None = None
        self._copy_problem = ""

    async def last_known(self) -> Ledger:
        """See ``TakedownStore.last_known``; here it is the copy."""
        return await asyncio.to_thread(self._copy.read) or Ledger()

    async def refresh(self, known: Ledger) -> Ledger:
        """See ``TakedownStore.refresh``."""
        with _told():
            try:
                ledger = await self._refresh(known)
            except ConnectionFailed:
                # What a restart of Redis closed is found out by using it; a new one may do.
                ledger = await self._refresh(known)
        if ledger.origin and ledger.stamp != self._copied:
            await self._write_copy(ledger)
        return ledger

    async def put(self, takedown: Takedown) -> Put:
        """See ``TakedownStore.put``."""
        with _told():
            outcome, value = await self._run(
                _PUT,
                _field(takedown.item_id),
                takedown.since,
                takedown.reason or "",
                self._most,
                new_origin(),
            )
        if outcome < 0:
            check_room(self._most, self._most)
        return Put(_takedown(takedown.item_id, value), is_new=outcome == 1)

    async def lift(self, item_id: str) -> Takedown | None:
        """See ``TakedownStore.lift``."""
        with _told():
            value = await self._run(_LIFT, _field(item_id))
        return None if value is None else _takedown(item_id, value)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _refresh(self, known: Ledger) -> Ledger:
        origin, revision = await cast(
            "Awaitable[list[bytes | None]]", self._redis.hmget(KEY, [_ORIGIN, _REVISION])
        )
        if origin is None and not known.takedowns:
            return known
        if origin is not None and _stamp(origin, revision) == known.stamp:
            return known
        ledger = await self._read()
        if not ledger.follows(known):
            _logger.warning("Redis lost takedowns; it gets back those that this worker knows")
            fields = [
                part
                for each in known.takedowns.values()
                for part in (_field(each.item_id), f"{each.since} {each.reason or ''}")
            ]
            await self._run(_JOIN, new_origin(), known.origin, known.revision, *fields)
            ledger = await self._read()
        return ledger

    async def _read(self) -> Ledger:
        fields = await cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall(KEY))
        origin, revision = _stamp(fields.pop(_ORIGIN, None), fields.pop(_REVISION, None))
        takedowns = [
            _takedown(field.removeprefix(_ITEM).decode(), value) for field, value in fields.items()
        ]
        return Ledger(origin, revision, {each.item_id: each for each in takedowns})

    async def _run(self, script: str, *arguments: str | bytes | int) -> Any:
        return await self._redis.eval(script, 1, KEY, *arguments)

    async def _write_copy(self, ledger: Ledger) -> None:
        """Write the copy; what prevents it is said once, and does not keep from serving."""
        try:
            await asyncio.to_thread(self._copy.keep, ledger)
        except (OpalError, OSError) as error:
            self._metrics.takedown_refreshes.labels("copy_failed").inc()
            if str(error) != self._copy_problem:
                _logger.error("the copy of the takedowns cannot be written: %s", error)  # noqa: TRY400
            self._copy_problem = str(error)
            return
        self._copied, self._copy_problem = ledger.stamp, ""


def connect_redis_takedowns(
    settings: Settings, url: str, copy: TakedownFile, metrics: Metrics
) -> RedisTakedowns:
    """Return a store in the Redis at ``url``. Connects at the first call, not here.

    Raises:
        InputError: The address cannot be read.
    """
    redis = redis_client(url, timeout=_TIMEOUT, max_connections=_MAX_CONNECTIONS)
    return RedisTakedowns(redis, copy, most=settings.max_takedowns, metrics=metrics)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what Redis cannot do into a problem for whoever operates it.

    Raises:
        TakedownsUnusable: It is away, too slow, full, or holds something else under our key.
    """
    try:
        yield
    except (RedisError, OSError, ValueError) as error:
        raise TakedownsUnusable(
            f"Redis: {str(error) or type(error).__name__}; those last known stay in force. Repeat "
            "a change once Redis is back: it does no harm where it was made"
        ) from error


def _stamp(origin: bytes | None, revision: bytes | None) -> tuple[str, int]:
    return (origin or b"").decode(), int(revision or 0)


def _field(item_id: str) -> bytes:
    return _ITEM + item_id.encode()


def _takedown(item_id: str, value: bytes) -> Takedown:
    since, _, reason = value.decode().partition(" ")
    return Takedown(item_id, since, reason or None)
