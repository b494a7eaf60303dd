"""``GET /items/{item_id}/similar``."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from service.answering.matching import similar_to
from service.api.answers import SimilarAnswer
from service.api.problems import (
    DeadlinePassed,
    InvalidRequest,
    NotFound,
    NotReady,
    Overloaded,
    problems_for_docs,
)
from service.api.schemas import MAX_TOP_K
from service.routes.paths import ANY_ID, require_readable_id
from service.web.dependencies import DeadlineDep, RetrieverDep

router = APIRouter(tags=["items"], dependencies=[Depends(require_readable_id)])


class SimilarWishes(BaseModel):
    """What may stand after the `?`; a name that is not here is refused like one in a body."""

    model_config = ConfigDict(extra="forbid")

    top_k: int = Field(100, ge=1, le=MAX_TOP_K, description="How many items")


@router.get(
    f"/items/{ANY_ID}/similar",
    summary="Nearest items to an item",
    response_model=SimilarAnswer,
    responses=problems_for_docs(NotFound, InvalidRequest, NotReady, Overloaded, DeadlinePassed),
)
async def get_similar(
    retriever: RetrieverDep,
    deadline: DeadlineDep,
    item_id: Annotated[str, Path(description="The item", examples=["50"])],
    wishes: Annotated[SimilarWishes, Query()],
) -> Response:
    """Return the items nearest to an item, nearest first; the item itself is left out."""
    answer = await retriever.compute(
        lambda bundle, withheld: similar_to(bundle, item_id, wishes.top_k, withheld=withheld),
        deadline=deadline,
    )
    if answer is None:
        raise NotFound(f"item {item_id!r} is not in the live bundle's catalog")
    return Response(orjson.dumps(answer), media_type="application/json")
