"""mosec with dynamic batching, as its documentation shows: a Worker whose forward takes a list.

python -m tests.bench.peers.with_mosec --address 127.0.0.1 --port PORT
"""

from mosec import Server, Worker

from tests.bench.peers.core import MAX_BATCH, WORKERS, Answer, Request, load_core

WAIT_MS = 10  # its default


class Match(Worker):
    """JSON in and out are the base class's."""

    def __init__(self) -> None:
        super().__init__()
        self.core = load_core()

    def forward(self, data: list[Request]) -> list[Answer]:
        """Answer a batch."""
        return self.core(data)

    def serialize(self, data: Answer) -> bytes:
        """Pass on what is JSON already."""
        if isinstance(data, bytes):
            return data
        serialized: bytes = super().serialize(data)
        return serialized


if __name__ == "__main__":
    server = Server()
    server.append_worker(
        Match, num=WORKERS, max_batch_size=MAX_BATCH, max_wait_time=WAIT_MS, route="/match"
    )
    server.run()
