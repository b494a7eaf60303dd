"""``PUT``, ``GET``, ``DELETE /admin/takedowns/{item_id}``, ``GET /admin/takedowns``."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from service.api.answers import TakedownAnswer, TakedownPut, TakedownsAnswer
from service.api.openapi import body_docs
from service.api.problems import (
    BodyTooLarge,
    BrokenJson,
    InvalidRequest,
    NotFound,
    RegistryUnusable,
    TakedownsUnusable,
    TooManyTakedowns,
    Unauthorized,
    problems_for_docs,
)
from service.api.schemas import MAX_ID_LENGTH, TakedownRequest
from service.routes.admin import report_registry
from service.routes.paths import ANY_ID, require_readable_id
from service.web.dependencies import StateDep, TakedownBody, require_admin

MAX_LISTED = 1000

router = APIRouter(
    prefix="/admin/takedowns",
    tags=["admin"],
    dependencies=[
        Depends(require_admin),
        Depends(report_registry),
        Depends(require_readable_id),
    ],
    responses=problems_for_docs(Unauthorized, InvalidRequest),
)

ItemIdPath = Annotated[
    str,
    Path(
        description="The item, percent-encoded; a slash may stay",
        min_length=1,
        max_length=MAX_ID_LENGTH,
        examples=["50"],
    ),
]


class ListWishes(BaseModel):
    """What may stand after the `?`; a name that is not here is refused like one in a body."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(MAX_LISTED, ge=1, le=MAX_LISTED, description="How many to list")
    after: str = Field("", description="Begin behind this id: `next` of the list before")


@router.get("", summary="Takedowns")
async def get_takedowns(state: StateDep, wishes: Annotated[ListWishes, Query()]) -> TakedownsAnswer:
    """List the takedowns in force, by item id."""
    return await state["takedowns"].list(after=wishes.after, limit=wishes.limit)


@router.get(f"/{ANY_ID}", summary="The takedown of an item", responses=problems_for_docs(NotFound))
async def get_takedown(state: StateDep, item_id: ItemIdPath) -> TakedownAnswer:
    """Tell since when an item is taken down, and why."""
    return await state["takedowns"].get(item_id)


@router.put(
    f"/{ANY_ID}",
    summary="Take an item down",
    responses=problems_for_docs(
        BrokenJson, TooManyTakedowns, BodyTooLarge, RegistryUnusable, TakedownsUnusable
    ),
    openapi_extra=body_docs(TakedownRequest, required=False),
)
async def put_takedown(state: StateDep, item_id: ItemIdPath, body: TakedownBody) -> TakedownPut:
    """Serve an item no more: not as a candidate, nor from the cache, the fallback or as similar.

    In force on the worker that answers when it answers, on all others within a second; kept across
    restarts and new bundles. No bundle needs to know the item. May be repeated: the time stays, and
    so does the reason unless another one is given. In histories the item goes on counting.
    """
    return await state["takedowns"].put(item_id, body.reason)


@router.delete(
    f"/{ANY_ID}",
    summary="Lift the takedown of an item",
    responses=problems_for_docs(NotFound, RegistryUnusable, TakedownsUnusable),
)
async def delete_takedown(state: StateDep, item_id: ItemIdPath) -> TakedownAnswer:
    """Let an item be served again, and return the takedown as it was."""
    return await state["takedowns"].lift(item_id)
