"""A uvicorn server that lets go of its connections before it closes them."""

import asyncio
import socket

import uvicorn

# Seconds. A caller that is about to send on a kept connection gets an answer that says `close`.
_LET_GO = 0.3


class GentleServer(uvicorn.Server):
    """Closes no connection under a request that is on its way.

    uvicorn closes every idle connection at once, and one on which a request arrives in that
    moment is reset. This one first takes no new connection and ends each old one with its next
    answer, and closes only what was idle all that time.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: see the class."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(_LET_GO)
        await super().shutdown(sockets)
