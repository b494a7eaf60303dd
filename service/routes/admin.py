"""``GET /admin/bundles``, ``POST /admin/reload``, ``POST /admin/rollback``."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends
from fastapi.concurrency import run_in_threadpool

from model.errors import OpalError
from service.api.answers import BundlesAnswer, SwapAnswer
from service.api.openapi import body_docs
from service.api.problems import (
    BrokenJson,
    BundleRefused,
    InvalidRequest,
    NotFound,
    NotReady,
    RegistryUnusable,
    Unauthorized,
    problems_for_docs,
)
from service.api.schemas import ReloadRequest
from service.web.dependencies import ReloadBody, StateDep, require_admin


async def report_registry() -> AsyncIterator[None]:
    """Turn what a registry cannot do, on any of these calls, into a problem for its operator.

    Raises:
        RegistryUnusable: CURRENT holds nonsense, a file is not ours to write, a volume is away…
    """
    try:
        yield
    except OpalError as error:
        raise RegistryUnusable(str(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise RegistryUnusable(
            f"{where}{error.strerror or error}; see to the registry's files and rights"
        ) from error


router = APIRouter(
    prefix="/admin",
    tags=["admin"],
    dependencies=[Depends(require_admin), Depends(report_registry)],
    responses=problems_for_docs(Unauthorized, InvalidRequest, RegistryUnusable),
)


@router.get("/bundles", summary="Bundles of the registry")
async def get_bundles(state: StateDep) -> BundlesAnswer:
    """List the bundles, which one is live, and why one was refused."""
    return await run_in_threadpool(state["follower"].describe)


@router.post(
    "/reload",
    summary="Go to CURRENT or to a named version",
    responses=problems_for_docs(BrokenJson, NotFound, BundleRefused, RegistryUnusable, NotReady),
    openapi_extra=body_docs(ReloadRequest, required=False),
)
async def post_reload(body: ReloadBody, state: StateDep) -> SwapAnswer:
    """Go to a bundle and answer once this worker serves it.

    With a version: that bundle is checked, becomes CURRENT, and all workers follow. Without:
    this worker looks at CURRENT now, and once it serves that, the others look again. A bundle
    that must not go live is refused and nothing changes.
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
