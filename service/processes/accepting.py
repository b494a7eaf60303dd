"""Shares connections out with the other workers.

libuv takes all connections that wait on a socket at once. Where many arrive together (a caller's
pool after a deployment, a load test) the first worker to wake has all of them for as long as they
live, and the others idle.
"""

import asyncio
import errno
import logging
import socket
from bisect import bisect
from collections.abc import Callable, Sized

# Seconds without accepting, when there are no file descriptors or no memory for a connection.
_OUT_OF_RESOURCES = 1.0
_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_STEPS = (1, 8, 32)
"""From so many connections on a worker waits one, two, three milliseconds: no finer does libuv."""

_logger = logging.getLogger(__name__)


class Acceptor:
    """Leaves new connections to workers that have fewer; stands where uvicorn keeps servers.

    A worker without connections accepts at once. One that has some waits a moment first, the longer
    the more it has, and takes what nobody else has taken by then.

    Args:
        listener: Listens already; shared with the other workers.
        protocol: Makes the protocol of a connection.
        connections: Those that this worker has.
        is_alone: There are no other workers.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        *,
        connections: Sized,
        is_alone: bool,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._protocol = protocol
        self._connections = connections
        self._is_alone = is_alone
        self._pause: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        listener.setblocking(False)
        self._loop.add_reader(listener, self._look)

    def close(self) -> None:
        """Accept what waits, then no more; what was accepted goes on.

        Closes the socket, in this process: what comes later is to be refused by the system, not to
        be left to wait and then reset.
        """
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            while self._accept():
                pass
            self._listener.close()
        # Last, since to accept may begin another pause.
        if self._pause is not None:
            self._pause.cancel()

    async def wait_closed(self) -> None:
        """Wait until what was accepted is served."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _look(self) -> None:
        """Accept a connection, or let others have it first."""
        pause = 0.0 if self._is_alone else _pause_before(len(self._connections) + len(self._tasks))
        if pause == 0:
            self._accept()
            return
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(pause, self._take_what_is_left)

    def _take_what_is_left(self) -> None:
        self._resume()
        # Not twice as many as there are: as many may come at the same moment to the others.
        for _ in range(len(self._connections) + 1):
            if not self._accept():
                return

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
        self._pause = None
        self._loop.add_reader(self._listener, self._look)


def _pause_before(n_connections: int) -> float:
    """Return the seconds that a worker leaves a connection to others."""
    return bisect(_STEPS, n_connections) / 1000
