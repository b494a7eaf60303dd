"""What routes are given: one name for each thing that lives as long as the worker."""

import hmac
from collections.abc import Callable
from typing import Annotated, Any, TypedDict, TypeVar

from fastapi import Depends, Header, Request
from pydantic import ValidationError

from service.answering.serving import Retriever
from service.api.problems import Unauthorized, problem_of
from service.api.schemas import (
    MOST_TIMEOUT_MS,
    BatchRequest,
    Body,
    HistoryRequest,
    Limits,
    MatchRequest,
    ReloadRequest,
    TakedownRequest,
)
from service.live.live import LiveBundle
from service.monitoring.metrics import Metrics
from service.reloading import BundleFollower
from service.settings import Settings
from service.takedowns.takedowns import TakedownFollower
from service.web.direct_match import DirectMatch

AnyBody = TypeVar("AnyBody", bound=Body)


class Drain:
    """Whether the worker is about to stop; ``/readyz`` tells balancers in time."""

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> None:
        """Say from now on that the worker is not ready."""
        self.begun = True


class State(TypedDict):
    """What lives as long as the worker; made by ``app``'s lifespan, closed in reverse order."""

    settings: Settings
    limits: Limits
    metrics: Metrics
    live: LiveBundle
    follower: BundleFollower
    takedowns: TakedownFollower
    retriever: Retriever
    drain: Drain
    direct_match: DirectMatch


async def get_state(request: Request) -> State:
    """Return what the lifespan made."""
    state: State = request.scope["state"]
    return state


StateDep = Annotated[State, Depends(get_state)]


async def get_retriever(state: StateDep) -> Retriever:
    """Return what answers match requests."""
    return state["retriever"]


async def get_request_id(request: Request) -> str:
    """Return the id that ``middleware.ObserveMiddleware`` gave to the request."""
    request_id: str = request.state.request_id
    return request_id


async def get_deadline(
    request: Request,
    timeout_ms: Annotated[
        int | None,
        Header(
            alias="X-Timeout-Ms",
            ge=1,
            le=MOST_TIMEOUT_MS,
            description="Milliseconds that you wait for the answer. Work that has not begun by "
            "then is not begun: 504",
        ),
    ] = None,
) -> float | None:
    """Return the ``time.monotonic()`` until which the caller waits, None for no limit."""
    if timeout_ms is None:
        return None
    started: float = request.state.started
    return started + timeout_ms / 1000


async def require_admin(
    state: StateDep,
    authorization: Annotated[
        str | None, Header(description="`Bearer <OPAL_ADMIN_TOKEN>`, where one is set")
    ] = None,
) -> None:
    """Refuse a call without the token, where the service was started with one.

    Raises:
        Unauthorized: The token is missing or another.
    """
    token = state["settings"].admin_token
    if token is None:
        return
    scheme, _, given = (authorization or "").partition(" ")
    expected = token.get_secret_value().encode()
    # Compared in constant time, so that a token cannot be guessed letter by letter.
    is_right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), expected)
    if scheme.lower() != "bearer" or not is_right:
        raise Unauthorized("send the header `Authorization: Bearer <OPAL_ADMIN_TOKEN>`")


def body_of(schema: type[AnyBody], *, may_be_empty: bool = False) -> Callable[..., Any]:
    """Return a dependency that reads a body, straight from its bytes.

    Whatever the Content-Type says: a body is JSON or it is refused as broken.

    Args:
        schema: What the body must be.
        may_be_empty: Take no body at all for ``{}``.
    """

    async def read_body(request: Request, state: StateDep) -> AnyBody:
        raw = await request.body()
        with state["metrics"].stage("validate"):
            try:
                return schema.model_validate_json(
                    b"{}" if may_be_empty and not raw else raw, context=state["limits"]
                )
            except ValidationError as error:
                raise problem_of(error) from None

    return read_body


RetrieverDep = Annotated[Retriever, Depends(get_retriever)]
RequestIdDep = Annotated[str, Depends(get_request_id)]
DeadlineDep = Annotated[float | None, Depends(get_deadline)]
MatchBody = Annotated[MatchRequest, Depends(body_of(MatchRequest))]
BatchBody = Annotated[BatchRequest, Depends(body_of(BatchRequest))]
HistoryBody = Annotated[HistoryRequest, Depends(body_of(HistoryRequest))]
ReloadBody = Annotated[ReloadRequest, Depends(body_of(ReloadRequest, may_be_empty=True))]
TakedownBody = Annotated[TakedownRequest, Depends(body_of(TakedownRequest, may_be_empty=True))]
