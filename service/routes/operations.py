"""``GET /healthz``, ``GET /readyz``, ``GET /metrics``."""

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool

from service.api.answers import Health
from service.api.problems import NotReady, problems_for_docs
from service.monitoring.metrics import CONTENT_TYPE
from service.web.dependencies import StateDep

router = APIRouter(tags=["operations"])


# Some balancers ask with HEAD.
@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Alive?")
async def get_healthz() -> Health:
    """Answer 200 as long as the process can answer at all."""
    return Health(status="ok")


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", summary="Able to serve?", responses=problems_for_docs(NotReady))
async def get_readyz(state: StateDep) -> Health:
    """Answer 200 when a bundle is live, and 503 from SIGTERM on, before the worker stops."""
    if state["drain"].begun:
        raise NotReady("this worker is about to stop; send new requests elsewhere")
    return Health(status="ready", bundle_version=state["live"].get().version)


@router.get(
    "/metrics",
    summary="Prometheus metrics of all workers",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format"}},
)
async def get_metrics(state: StateDep) -> Response:
    """Return the metrics of all workers, whichever of them answers."""
    return Response(await run_in_threadpool(state["metrics"].render), media_type=CONTENT_TYPE)
