"""``POST /match``, ``POST /match/batch``, ``POST /interests``."""

import asyncio
from typing import Any

import orjson
from fastapi import APIRouter, Response
from pydantic import ValidationError

from service.answering.matching import interests_of
from service.answering.serving import Retriever
from service.api.answers import BatchAnswer, InterestsAnswer, MatchAnswer
from service.api.openapi import body_docs
from service.api.problems import (
    BodyTooLarge,
    BrokenJson,
    DeadlinePassed,
    InvalidRequest,
    NotReady,
    Overloaded,
    ProblemError,
    problem_of,
    problems_for_docs,
)
from service.api.query import Query
from service.api.schemas import BatchRequest, HistoryRequest, Limits, MatchRequest
from service.web.dependencies import (
    BatchBody,
    DeadlineDep,
    HistoryBody,
    MatchBody,
    RequestIdDep,
    RetrieverDep,
    StateDep,
)

JSON = "application/json"
PROBLEMS = problems_for_docs(
    BrokenJson, BodyTooLarge, InvalidRequest, NotReady, Overloaded, DeadlinePassed
)

router = APIRouter(tags=["match"])


@router.post(
    "/match",
    summary="Candidates for one user",
    response_model=MatchAnswer,
    responses=PROBLEMS,
    openapi_extra=body_docs(MatchRequest),
)
async def post_match(
    deadline: DeadlineDep, body: MatchBody, retriever: RetrieverDep, request_id: RequestIdDep
) -> Response:
    """Encode the history as interests and return the items nearest to any of them.

    Exactly `top_k` candidates come back whenever the catalog has that many under your conditions.
    """
    answer = await retriever.answer(Query.of(body), request_id, deadline=deadline)
    return Response(answer, media_type=JSON)


@router.post(
    "/match/batch",
    summary="Candidates for many users",
    response_model=BatchAnswer,
    responses=PROBLEMS,
    openapi_extra=body_docs(BatchRequest),
)
async def post_match_batch(
    deadline: DeadlineDep,
    body: BatchBody,
    retriever: RetrieverDep,
    request_id: RequestIdDep,
    state: StateDep,
) -> Response:
    """Answer many match requests, in their order.

    Each result is an answer, or the problem with that request; the others are not touched by it.
    """
    state["metrics"].batch_size.observe(len(body.requests))
    retriever = retriever.for_batch()
    # All at once: they are looked up in one round trip, and what is missing is computed together.
    results = await asyncio.gather(
        *(
            _answer_or_problem(raw, retriever, request_id, state["limits"], deadline)
            for raw in body.requests
        )
    )
    return Response(orjson.dumps({"results": results}), media_type=JSON)


@router.post(
    "/interests",
    summary="The interests of one user, as vectors",
    response_model=InterestsAnswer,
    responses=PROBLEMS,
    openapi_extra=body_docs(HistoryRequest),
)
async def post_interests(
    deadline: DeadlineDep, body: HistoryBody, retriever: RetrieverDep
) -> Response:
    """Encode the history and return the interest vectors and their weights, without retrieval."""
    answer = await retriever.compute(
        lambda bundle, _: interests_of(bundle, body.item_ids), deadline=deadline
    )
    return Response(orjson.dumps(answer), media_type=JSON)


async def _answer_or_problem(
    raw: Any, retriever: Retriever, request_id: str, limits: Limits, deadline: float | None
) -> orjson.Fragment:
    try:
        try:
            request = MatchRequest.model_validate(raw, context=limits)
        except ValidationError as error:
            raise problem_of(error) from None
        return orjson.Fragment(
            await retriever.answer(Query.of(request), request_id, deadline=deadline)
        )
    except ProblemError as error:
        return orjson.Fragment(orjson.dumps(error.document()))
