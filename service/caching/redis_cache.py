"""Answers kept in Redis, shared by all workers and machines.

Redis slow or gone makes the service slower for a moment, never wrong and never an error: every
call has a short timeout, a failure is a miss, and after some failures in a row Redis is left
alone for a while.

A worker that finds nothing under a key leaves a short-lived mark there, in the same round trip: it
computes the answer, which replaces the mark. Who finds the mark waits a little for the answer, then
computes it too: the mark saves work, nothing depends on it.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable
from typing import NamedTuple, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.caching.breaker import BreakerState, CircuitBreaker
from service.caching.collecting import Collector
from service.caching.lives import Lives
from service.caching.sealing import seal, unseal
from service.monitoring.metrics import Metrics
from service.redis_url import redis_client
from service.settings import Settings

# Connections per worker; more callers than this wait for one, within the timeout. Few, because a
# burst that opens many at once makes all of them late.
_MAX_CONNECTIONS = 8

# Keys in one round trip: the replies of many more could take longer than the timeout.
_MOST_KEYS = 256

# Seconds between two looks for an answer that another worker computes; each pause is twice the one
# before.
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.01

# What a mark begins with; a sealed answer begins with a digest.
_MARK = b"opal:computing:"

# For each key its value, or 1: nothing was there, and now the mark is; or 0: nothing was there
# that MGET reads, and the mark could not be left. Where Redis is full or read-only the mark cannot
# be left either (pcall), which is no reason to wait.
_LOOK_UP = """
local found = redis.call('MGET', unpack(KEYS))
for place, value in ipairs(found) do
  if not value then
    found[place] = redis.pcall('SET', KEYS[place], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
  end
end
return found
"""
# Takes away those marks that are still ours.
_GIVE_UP = """
for _, key in ipairs(KEYS) do
  if redis.pcall('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
"""

_logger = logging.getLogger(__name__)


class _Sight(NamedTuple):
    """What a look at a key showed.

    Attributes:
        answer: The answer, if it was there.
        awaited: Another worker computes it.
        marked: The mark is ours.
    """

    answer: bytes | None = None
    awaited: bool = False
    marked: bool = False


class RedisCache:
    """A ``SharedCache`` in Redis that fails open.

    Args:
        redis: Client; its timeouts bound each step of a call.
        timeout: Seconds for a call in all.
        lock_ms: Milliseconds that others wait for an answer that one worker computes; 0: they
            compute it too.
        lives: How long an answer is kept.
        breaker: Decides whether Redis is asked at all.
        metrics: Counts failures and waits.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        timeout: float,
        lock_ms: int,
        lives: Lives,
        breaker: CircuitBreaker,
        metrics: Metrics,
    ) -> None:
        self._redis = redis
        self._timeout = timeout
        self._lock_ms = lock_ms
        self._lives = lives
        self._breaker = breaker
        self._metrics = metrics
        self._mark = _MARK + uuid.uuid4().hex.encode()
        self._marked: set[str] = set()
        self._look_up_and_mark = redis.register_script(_LOOK_UP)
        self._take_marks_away = redis.register_script(_GIVE_UP)
        self._gets = Collector(self._get_all, most=_MOST_KEYS)
        self._puts = Collector(self._put_all, most=_MOST_KEYS)
        self._surrenders = Collector(self._give_up_all, most=_MOST_KEYS)

    async def get(self, key: str, *, deadline: float | None = None) -> bytes | None:
        """See ``SharedCache.get``."""
        sight = await self._look(key)
        return await self._wait(key, deadline) if sight.awaited else sight.answer

    async def put(self, key: str, answer: bytes) -> None:
        """See ``SharedCache.put``."""
        self._marked.discard(key)  # the answer replaces it
        await self._puts.call((key, answer))

    def give_up(self, key: str) -> None:
        """See ``SharedCache.give_up``."""
        if key in self._marked:
            self._marked.discard(key)
            self._surrenders.call(key)  # nobody waits for it

    async def close(self) -> None:
        """Finish what was given up and close the connections."""
        await self._surrenders.close()
        await self._redis.aclose()

    async def _look(self, key: str) -> _Sight:
        sight = await self._gets.call(key)
        if sight.marked:
            # Noted here, not where the reply is read: whoever was cancelled meanwhile will neither
            # put an answer nor give up, and the mark ends by itself.
            self._marked.add(key)
        return sight

    async def _wait(self, key: str, deadline: float | None) -> bytes | None:
        """Wait for the answer that another worker computes, as long as that is worth it."""
        now = time.monotonic()
        patience = self._lock_ms / 1000
        if deadline is not None:
            # As long again is left for computing it.
            patience = min(patience, (deadline - now) / 2)
        until, pause = now + patience, _FIRST_PAUSE
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
            sight = await self._look(key)
            if not sight.awaited:
                return self._note_wait(key, sight.answer)
        self._metrics.cache_lock_waits.labels("timed_out").inc()
        return None

    def _note_wait(self, key: str, answer: bytes | None) -> bytes | None:
        outcome = "answered" if answer else "taken_over" if key in self._marked else "failed"
        self._metrics.cache_lock_waits.labels(outcome).inc()
        return answer

    async def _get_all(self, keys: list[str]) -> list[_Sight]:
        if not self._breaker.allows_call():
            return [_Sight()] * len(keys)
        try:
            async with asyncio.timeout(self._timeout):
                values = await self._ask(keys)
        except (RedisError, OSError) as error:
            self._note_failure("get", error)
            return [_Sight()] * len(keys)
        self._breaker.succeeded()
        return [self._see(key, value) for key, value in zip(keys, values, strict=True)]

    async def _ask(self, keys: list[str]) -> list[object]:
        if self._lock_ms == 0:
            return cast("list[object]", await self._redis.mget(keys))
        arguments = (self._mark, self._lock_ms)
        return cast("list[object]", await self._look_up_and_mark(keys=keys, args=arguments))

    def _see(self, key: str, value: object) -> _Sight:
        """Tell what a value in Redis means to this worker."""
        if value is None:
            return _Sight()
        if value == self._mark:
            return _Sight(marked=True)  # of a caller who was cancelled
        if isinstance(value, int):
            return _Sight(awaited=value == 0, marked=value == 1)
        if isinstance(value, bytes) and value.startswith(_MARK):
            return _Sight(awaited=True)
        answer = unseal(key, value)
        if answer is None:
            # Redis works, so the breaker stays closed; the answer is computed and stored anew.
            self._metrics.cache_errors.labels("get").inc()
            _logger.warning("cache get failed: %s holds what is no answer of ours", key)
        return _Sight(answer)

    async def _put_all(self, answers: list[tuple[str, bytes]]) -> list[None]:
        if self._breaker.allows_call():
            pipeline = self._redis.pipeline(transaction=False)
            for key, answer in answers:
                life = max(1, round(self._lives.of_shared() * 1000))
                pipeline.set(key, seal(key, answer), px=life)
            await self._report("put", pipeline.execute())
        return [None] * len(answers)

    async def _give_up_all(self, keys: list[str]) -> list[None]:
        if self._breaker.allows_call():
            await self._report("give_up", self._take_marks_away(keys=keys, args=[self._mark]))
        return [None] * len(keys)

    async def _report(self, name: str, call: Awaitable[object]) -> None:
        """Make a call, and tell breaker and metrics how it went."""
        try:
            async with asyncio.timeout(self._timeout):
                await call
        except (RedisError, OSError) as error:
            self._note_failure(name, error)
        else:
            self._breaker.succeeded()

    def _note_failure(self, call: str, error: Exception) -> None:
        self._metrics.cache_errors.labels(call).inc()
        _logger.warning("cache %s failed: %s", call, str(error) or type(error).__name__)
        self._breaker.failed()


def connect_redis(settings: Settings, url: str, lives: Lives, metrics: Metrics) -> RedisCache:
    """Return a cache in the Redis at ``url``. Connects at the first call, not here.

    Raises:
        InputError: The address cannot be read.
    """
    timeout = settings.redis_timeout_ms / 1000
    redis = redis_client(url, timeout=timeout, max_connections=_MAX_CONNECTIONS)

    def on_change(state: BreakerState) -> None:
        metrics.cache_breaker.set(state.value)
        _logger.warning("cache breaker is %s", state.name.lower())

    breaker = CircuitBreaker(
        failures=settings.breaker_failures, rest=settings.breaker_seconds, on_change=on_change
    )
    return RedisCache(
        redis,
        timeout=timeout,
        lock_ms=settings.cache_lock_ms,
        lives=lives,
        breaker=breaker,
        metrics=metrics,
    )
