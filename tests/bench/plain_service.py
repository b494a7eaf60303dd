"""FastAPI applications to compare the service with, under the same uvicorn.

``create_plain`` is what is written first: a sync endpoint, pydantic models both ways, the plain
core for one user. ``create_batched`` has an own micro-batching queue and orjson. ``create_bare``
reads the body and returns bytes that it was given: the most that this stack can reach. They find
what they serve in the environment (``tests.bench.peers.core``).
"""

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from tests.bench.peers.core import MAX_BATCH, load_core, to_json

ANSWER_VARIABLE = "BENCH_ANSWER"
JSON = "application/json"


class PlainRequest(BaseModel):
    """What is asked."""

    interactions: list[str]
    top_k: int = 100


class PlainInterest(BaseModel):
    """One interest of the user."""

    interest: int
    weight: float
    interactions: int


class PlainItem(BaseModel):
    """One candidate."""

    item_id: str
    title: str | None
    score: float
    rank: int
    interest: int


class PlainAnswer(BaseModel):
    """An answer."""

    bundle_version: str
    unknown_items: int
    interests: list[PlainInterest]
    candidates: list[PlainItem]


def create_plain() -> FastAPI:
    """Make the plain application."""
    core, app = load_core(), FastAPI()

    @app.post("/match", response_model=PlainAnswer)
    def post_match(body: PlainRequest) -> Any:
        [answer] = core([body.model_dump()])
        return Response(answer, media_type=JSON) if isinstance(answer, bytes) else answer

    return app


def create_batched() -> FastAPI:
    """Make the application with an own queue."""
    from tests.bench.peers.micro_batching import MicroBatcher

    batcher, app = MicroBatcher(load_core(), MAX_BATCH), FastAPI()

    @app.post("/match")
    async def post_match(body: PlainRequest) -> Response:
        answer = await batcher.ask(body.model_dump())
        return Response(to_json(answer), media_type=JSON)

    return app


def create_bare() -> FastAPI:
    """Make the bare application, which returns the file that ``BENCH_ANSWER`` names."""
    answer = Path(os.environ[ANSWER_VARIABLE]).read_bytes()
    app = FastAPI()

    @app.post("/match")
    async def post_match(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type=JSON)

    return app
