"""Two applications to compare the service with, under the same uvicorn: plain, and bare.

``create_plain`` is what is written first: a sync endpoint, pydantic models both ways, retrieval by
``plain_match``. ``create_bare`` reads the body and returns bytes that it was given: the most that
this stack can reach. Both find what they serve in the environment.
"""

import os
from pathlib import Path

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

BUNDLE_VARIABLE = "BENCH_BUNDLE"
ANSWER_VARIABLE = "BENCH_ANSWER"


class PlainRequest(BaseModel):
    """What is asked."""

    interactions: list[str]
    top_k: int = 100


class PlainItem(BaseModel):
    """One candidate."""

    item_id: str
    title: str | None
    score: float
    rank: int
    interest: int


class PlainAnswer(BaseModel):
    """All candidates."""

    candidates: list[PlainItem]


def create_plain() -> FastAPI:
    """Make the plain application, which answers from the bundle that ``BENCH_BUNDLE`` names."""
    import faiss
    import torch

    from tests.bench.plain_match import PlainMatcher

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    matcher = PlainMatcher(Path(os.environ[BUNDLE_VARIABLE]))
    app = FastAPI()

    @app.post("/match")
    def post_match(body: PlainRequest) -> PlainAnswer:
        found = matcher.match(body.interactions, body.top_k)
        return PlainAnswer(candidates=[PlainItem(**each._asdict()) for each in found])

    return app


def create_bare() -> FastAPI:
    """Make the bare application, which returns the file that ``BENCH_ANSWER`` names."""
    answer = Path(os.environ[ANSWER_VARIABLE]).read_bytes()
    app = FastAPI()

    @app.post("/match")
    async def post_match(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")

    return app
