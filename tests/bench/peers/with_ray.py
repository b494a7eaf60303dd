"""Ray Serve with ``@serve.batch``, as its documentation shows.

python -m tests.bench.peers.with_ray PORT FOLDER
"""

import sys
import time

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from tests.bench.peers import core

BATCH_WAIT = 0.01  # seconds, its default
MAX_ONGOING = 256


@serve.deployment(
    num_replicas=core.WORKERS,
    max_ongoing_requests=MAX_ONGOING,
    ray_actor_options={"num_cpus": 1},
)
class Match:
    """One of the replicas."""

    def __init__(self) -> None:
        self.core = core.load_core()

    @serve.batch(max_batch_size=core.MAX_BATCH, batch_wait_timeout_s=BATCH_WAIT)
    async def match(self, requests: list[core.Request]) -> list[core.Answer]:
        """Answer a batch."""
        return self.core(requests)

    async def __call__(self, request: Request) -> core.Answer | Response:
        """Answer one caller."""
        answer: core.Answer = await self.match(await request.json())
        if isinstance(answer, bytes):
            return Response(answer, media_type="application/json")
        return answer


if __name__ == "__main__":
    ray.init(
        num_cpus=core.WORKERS,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=sys.argv[2],
        log_to_driver=False,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Match.bind(), route_prefix="/match")  # type: ignore[attr-defined] # ray is not here
    print("ready", flush=True)
    while True:
        time.sleep(60)
