"""``GET /admin/bundles``, ``POST /admin/reload``, ``POST /admin/rollback``."""

from fastapi import APIRouter, Depends
from fastapi.concurrency import run_in_threadpool

from service.answers import BundlesAnswer, SwapAnswer
from service.dependencies import ReloadBody, StateDep, require_admin
from service.openapi import body_docs
from service.problems import (
    BrokenJson,
    BundleRefused,
    InvalidRequest,
    NotFound,
    NotReady,
    Unauthorized,
    problems_for_docs,
)
from service.schemas import ReloadRequest

router = APIRouter(
    prefix="/admin",
    tags=["admin"],
    dependencies=[Depends(require_admin)],
    responses=problems_for_docs(Unauthorized, InvalidRequest),
)


@router.get("/bundles", summary="Bundles of the registry")
async def get_bundles(state: StateDep) -> BundlesAnswer:
    """List the bundles, which one is live, and why one was refused."""
    return await run_in_threadpool(state["follower"].describe)


@router.post(
    "/reload",
    summary="Go to CURRENT or to a named version",
    responses=problems_for_docs(BrokenJson, NotFound, BundleRefused, NotReady),
    openapi_extra=body_docs(ReloadRequest, required=False),
)
async def post_reload(body: ReloadBody, state: StateDep) -> SwapAnswer:
    """Go to a bundle and answer once this worker serves it.

    With a version: that bundle is checked, becomes CURRENT, and all workers follow. Without:
    this worker looks at CURRENT now and not at its next turn. A bundle that must not go live is
    refused and nothing changes.
    """
    if body.version is not None:
        return await state["follower"].go_to(body.version)
    answer = await state["follower"].look(again=True)
    if answer is None:
        raise NotReady("CURRENT names no bundle; publish one with `python -m index publish`")
    return answer


@router.post(
    "/rollback",
    summary="Go back to the bundle that was live before",
    responses=problems_for_docs(BundleRefused),
)
async def post_rollback(state: StateDep) -> SwapAnswer:
    """Make the bundle CURRENT that was live before; all workers follow."""
    return await state["follower"].roll_back()
