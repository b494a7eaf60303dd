"""A server that does nothing but answer, to see what the load generator can reach.

    python -m tests.bench.fast_server PORT ANSWER_BYTES

No parsing beyond what tells one request from the next: it is faster than any that is measured.
"""

import asyncio
import sys
from typing import cast

import uvloop


class Answering(asyncio.Protocol):
    """Answers every request with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``; one request at a time, whose body ends in a brace."""
        if data.endswith(b"}"):
            self._transport.write(self._answer)


async def _serve(port: int, size: int) -> None:
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size
    server = await asyncio.get_running_loop().create_server(
        lambda: Answering(answer), "127.0.0.1", port
    )
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
