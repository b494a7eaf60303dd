"""Accepts connections in turns with the other workers.

libuv takes all connections that wait on a socket at once. Where many arrive together (a caller's
pool after a deployment, a load test) the first worker to wake has all of them for as long as they
live, and the others idle.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

# Seconds without accepting, when there are no file descriptors or no memory for a connection.
_OUT_OF_RESOURCES = 1.0
_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_logger = logging.getLogger(__name__)


class Acceptor:
    """Accepts one connection in each turn of the event loop; stands where uvicorn keeps servers.

    Whoever is busy comes round less often and leaves connections to the others.

    Args:
        listener: Listens already; shared with the other workers.
        protocol: Makes the protocol of a connection.
    """

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._protocol = protocol
        self._pause: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Accept what waits, then no more; what was accepted goes on.

        Closes the socket, in this process: what comes later is to be refused by the system, not to
        be left to wait and then reset.
        """
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            while self._accept():
                pass
            self._listener.close()

    async def wait_closed(self) -> None:
        """Wait until what was accepted is served."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self) -> bool:
        """Accept one connection; return whether there was one."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another worker was first, or the caller has gone
        except OSError as error:
            if error.errno not in _RESOURCES:
                raise
            _logger.warning("cannot accept connections now: %s", error.strerror)
            self._loop.remove_reader(self._listener)
            self._pause = self._loop.call_later(_OUT_OF_RESOURCES, self._resume)
            return False
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        task = self._loop.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _serve(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError as error:
            # It was reset before it was ours.
            _logger.debug("connection lost: %s", error)
            connection.close()

    def _resume(self) -> None:
        if self._listener.fileno() < 0:
            return
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)
