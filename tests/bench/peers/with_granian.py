"""Granian's RSGI with msgspec and a micro-batching queue: the leanest stack without our service.

granian --interface rsgi tests.bench.peers.with_granian:app --host 127.0.0.1 --port PORT …
"""

from typing import Any

import msgspec

from tests.bench.peers.core import MAX_BATCH, load_core
from tests.bench.peers.micro_batching import MicroBatcher


class MatchRequest(msgspec.Struct):
    """What is asked."""

    interactions: list[str]
    top_k: int = 100


class App:
    """Called once for each request."""

    def __init__(self) -> None:
        self._batcher = MicroBatcher(load_core(), MAX_BATCH)
        self._decoder, self._encoder = msgspec.json.Decoder(MatchRequest), msgspec.json.Encoder()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one caller."""
        request = self._decoder.decode(await protocol())
        answer = await self._batcher.ask(msgspec.structs.asdict(request))
        body = answer if isinstance(answer, bytes) else self._encoder.encode(answer)
        protocol.response_bytes(200, [("content-type", "application/json")], body)


app = App()
