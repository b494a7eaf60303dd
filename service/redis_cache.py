"""Answers kept in Redis, shared by all workers and machines.

Redis slow or gone makes the service slower for a moment, never wrong and never an error: every
call has a short timeout, a failure is a miss, and after some failures in a row Redis is left
alone for a while.
"""

import hashlib
import logging

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.breaker import BreakerState, CircuitBreaker
from service.metrics import Metrics
from service.redis_url import redis_client
from service.settings import Settings

# Connections per worker; more callers than this wait for one, within the timeout. Few, because a
# burst that opens many at once makes all of them late.
_MAX_CONNECTIONS = 8

_DIGEST_BYTES = 16

_logger = logging.getLogger(__name__)


class RedisCache:
    """An ``AnswerCache`` in Redis that fails open.

    Args:
        redis: Client; its timeouts bound every call.
        ttl_ms: Milliseconds that an answer is kept.
        breaker: Decides whether Redis is asked at all.
        metrics: Counts the failures.
    """

    def __init__(
        self, redis: Redis, *, ttl_ms: int, breaker: CircuitBreaker, metrics: Metrics
    ) -> None:
        self._redis = redis
        self._ttl_ms = ttl_ms
        self._breaker = breaker
        self._metrics = metrics

    async def get(self, key: str) -> bytes | None:
        """See ``AnswerCache.get``."""
        if not self._breaker.allows_call():
            return None
        try:
            stored = await self._redis.get(key)
        except (RedisError, OSError) as error:
            self._note_failure("get", error)
            return None
        self._breaker.succeeded()
        if stored is None:
            return None
        answer = unseal(key, stored)
        if answer is None:
            # Redis works, so the breaker stays closed; the answer is computed and stored anew.
            self._metrics.cache_errors.labels("get").inc()
            _logger.warning("cache get failed: %s holds what is no answer of ours", key)
        return answer

    async def put(self, key: str, answer: bytes) -> None:
        """See ``AnswerCache.put``."""
        if not self._breaker.allows_call():
            return
        try:
            await self._redis.set(key, seal(key, answer), px=self._ttl_ms)
        except (RedisError, OSError) as error:
            self._note_failure("put", error)
            return
        self._breaker.succeeded()

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _note_failure(self, call: str, error: Exception) -> None:
        self._metrics.cache_errors.labels(call).inc()
        _logger.warning("cache %s failed: %s", call, str(error) or type(error).__name__)
        self._breaker.failed()


def seal(key: str, answer: bytes) -> bytes:
    """Put a digest of key and answer before the answer, which goes into responses unread."""
    return _digest(key, answer) + answer


def unseal(key: str, stored: object) -> bytes | None:
    """Return the answer that was sealed under ``key``; None for what is damaged or not ours."""
    if not isinstance(stored, bytes):
        return None
    digest, answer = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
    return answer if digest == _digest(key, answer) else None


def _digest(key: str, answer: bytes) -> bytes:
    digest = hashlib.blake2b(key.encode(), digest_size=_DIGEST_BYTES)
    digest.update(answer)
    return digest.digest()


def connect_redis(settings: Settings, url: str, metrics: Metrics) -> RedisCache:
    """Return a cache in the Redis at ``url``. Connects at the first call, not here.

    Raises:
        InputError: The address cannot be read.
    """
    redis = redis_client(
        url, timeout=settings.redis_timeout_ms / 1000, max_connections=_MAX_CONNECTIONS
    )

    def on_change(state: BreakerState) -> None:
        metrics.cache_breaker.set(state.value)
        _logger.warning("cache breaker is %s", state.name.lower())

    breaker = CircuitBreaker(
        failures=settings.breaker_failures, rest=settings.breaker_seconds, on_change=on_change
    )
    return RedisCache(
        redis,
        ttl_ms=max(1, round(settings.cache_ttl * 1000)),
        breaker=breaker,
        metrics=metrics,
    )
