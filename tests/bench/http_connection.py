"""One HTTP/1.1 connection that sends bytes and tells what came back, with as little work as can be.

A client library, or even asyncio's streams, would take more of the machine than some of the
servers that are measured.
"""

import asyncio
import re
from collections.abc import Callable
from typing import NamedTuple, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"

FROM_CACHE = b'"source":"cache"'
"""Stands at the head of the service's answers; tells whether a load met what it was to measure."""

_HEAD_OF_BODY = 200


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: 0 for what is not HTTP.
        size: Length of the body, in bytes.
        is_cached: It says that it comes from a cache.
        closes: The server closes the connection after it.
    """

    status: int
    size: int
    is_cached: bool
    closes: bool


BROKEN = Answer(0, 0, is_cached=False, closes=True)


class Connection(asyncio.Protocol):
    """Sends one request at a time.

    Args:
        answered: Told of each answer.
        lost: Told when the connection has ended, whoever ended it.

    Attributes:
        begun: When the request under way was to be sent, in seconds from the start of the load;
            None while it is idle.
    """

    def __init__(
        self,
        answered: Callable[["Connection", Answer], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        self.begun: float | None = None
        self._answered = answered
        self._lost = lost
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def ask(self, request: bytes, begun: float) -> None:
        """Send a request that was to be sent at ``begun``."""
        assert self._transport is not None
        self.begun = begun
        self._transport.write(request)

    def abort(self) -> None:
        """End the connection without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self._received:
            data = self._received + data
        answer = read_answer(data)
        if answer is None:
            self._received = data
            return
        self._received = b""
        self._answered(self, answer)

    def connection_lost(self, error: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._lost(self)


def read_answer(data: bytes) -> Answer | None:
    """Read the answer that ``data`` begins with, None where more of it has to come."""
    body = data.find(b"\r\n\r\n") + 4
    if body < 4:
        return None
    if not data.startswith(b"HTTP/1.") or not data[9:12].isdigit():
        return BROKEN
    length = _LENGTH.search(data, 0, body)
    if length is not None:
        size = int(length[1])
        if len(data) < body + size:
            return None
    elif _CHUNKED.search(data, 0, body) is not None:
        # One request at a time: what the last chunk ends is the end of what was sent.
        if not data.endswith(_LAST_CHUNK):
            return None
        size = len(data) - body
    else:
        return BROKEN
    is_cached = data.find(FROM_CACHE, body, body + _HEAD_OF_BODY) >= 0
    closes = _CLOSE.search(data, 0, body) is not None
    return Answer(int(data[9:12]), size, is_cached, closes)
