"""What serves in a worker: uvicorn's server, but for how connections come and go."""

import asyncio
import socket

import uvicorn

from service.answering.scheduling import interrupt_nobody
from service.processes.accepting import Acceptor
from service.web.protocol import ServiceProtocol

# Seconds. A caller that is about to send on a kept connection gets an answer that says `close`.
_LET_GO = 0.3


class WorkerServer(uvicorn.Server):
    """Shares connections out with other workers, and closes none under a request.

    uvicorn closes every idle connection at once, and one on which a request arrives in that
    moment is reset. This one first takes no new connection and ends each old one with its next
    answer, and closes only what was idle all that time.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept connections on sockets that listen."""
        await super().startup(sockets=[])
        # Only now: what BLAS and the like started for the first bundle is to stay as it is.
        interrupt_nobody()
        acceptors = [
            Acceptor(
                each,
                self._protocol,
                connections=self.server_state.connections,
                is_alone=self.config.workers == 1,
            )
            for each in sockets or ()
        ]
        self.servers = acceptors  # type: ignore[assignment] # they have all that is asked of one

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: see the class."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(_LET_GO)
        patience = self.config.timeout_graceful_shutdown
        if patience is not None:
            # uvicorn ends what is a task then; direct calls are none.
            asyncio.get_running_loop().call_later(patience, self._abandon)
        await super().shutdown(sockets)

    def _abandon(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, ServiceProtocol):
                connection.abandon()

    def _protocol(self) -> asyncio.Protocol:
        """Make the protocol of a connection, as uvicorn's ``startup`` does."""
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
