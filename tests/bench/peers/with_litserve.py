"""LitServe with batching, as its documentation shows: a LitAPI whose predict takes a list.

python -m tests.bench.peers.with_litserve PORT
"""

import sys
from typing import Any

import litserve
from fastapi import Response

from tests.bench.peers.core import MAX_BATCH, WORKERS, Answer, Request, load_core

BATCH_TIMEOUT = 0.01  # seconds


class Match(litserve.LitAPI):
    """Computes in processes of its own, beside those that take requests."""

    def setup(self, device: str) -> None:
        """Load once in each process."""
        self.core = load_core()

    def decode_request(self, request: Request) -> Request:
        """Take the parsed body as it is."""
        return request

    def batch(self, inputs: list[Request]) -> list[Request]:
        """Nothing is to be stacked."""
        return inputs

    def predict(self, requests: list[Request]) -> list[Answer]:
        """Answer a batch."""
        return self.core(requests)

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        """One answer for each request already."""
        return output

    def encode_response(self, output: Answer) -> Any:  # FastAPI makes a model of anything else
        """Pass on what is JSON already."""
        if isinstance(output, bytes):
            return Response(output, media_type="application/json")
        return output


if __name__ == "__main__":
    match = Match(max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT, api_path="/match")
    server = litserve.LitServer(match, accelerator="cpu", workers_per_device=WORKERS, timeout=60)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=WORKERS,
        log_level="warning",
        generate_client_file=False,
    )
