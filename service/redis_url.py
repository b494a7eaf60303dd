"""Whether the address of Redis can be used, told before any worker starts."""

from redis.asyncio import ConnectionPool

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
