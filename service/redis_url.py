"""Redis by its address: whether that can be used, told before workers start, and a client."""

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from model.errors import InputError


def check_redis_url(url: str) -> None:
    """Make a connection of an address as the cache will, without connecting.

    Args:
        url: ``OPAL_REDIS_URL``.

    Raises:
        InputError: Its host, its port or an option cannot be read.
    """
    try:
        ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
    except Exception:
        # Each mistake raises something else, and its message may show the password.
        raise InputError(
            "OPAL_REDIS_URL: its host, its port or an option after `?` cannot be read; expected "
            "something like redis://host:6379/0"
        ) from None


def redis_client(url: str, *, timeout: float, max_connections: int) -> Redis:
    """Return a client that gives up in time. Connects at the first call, not here.

    Args:
        url: ``OPAL_REDIS_URL``.
        timeout: Seconds for a free connection, for connecting, and for an answer, each.
        max_connections: More callers than this wait for a connection.

    Raises:
        InputError: The address cannot be read.
    """
    check_redis_url(url)
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=timeout,  # for a free connection
        socket_connect_timeout=timeout,
        socket_timeout=timeout,  # for an answer
        # The client would try again three times by itself, each try with its own timeout.
        retry=Retry(NoBackoff(), 0),
        client_name="opal-match",
    )
    return Redis.from_pool(pool)  # which closes the pool with the client
