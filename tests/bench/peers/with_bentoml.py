"""BentoML with adaptive batching, as its documentation shows: a batchable API over a list.

    bentoml serve tests.bench.peers.with_bentoml:Match --host 127.0.0.1 --port PORT

Called directly: a caller sends a list of one request and gets a list of one answer.
"""

import bentoml

from tests.bench.peers.core import MAX_BATCH, WORKERS, load_core
from tests.bench.plain_service import PlainAnswer, PlainRequest

MAX_LATENCY_MS = 1000


@bentoml.service(workers=WORKERS, traffic={"timeout": 60, "max_concurrency": 10_000})
class Match:
    """One of the processes."""

    def __init__(self) -> None:
        self.core = load_core()

    @bentoml.api(
        batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=MAX_LATENCY_MS, route="/match"
    )
    def match(self, requests: list[PlainRequest]) -> list[PlainAnswer]:
        """Answer a batch."""
        return [
            PlainAnswer.model_validate_json(each)
            if isinstance(each, bytes)
            else PlainAnswer(**each)
            for each in self.core([request.model_dump() for request in requests])
        ]
