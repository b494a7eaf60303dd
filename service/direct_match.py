"""``POST /match`` past FastAPI's dispatch, which takes longer than all else around a computation.

Only what is plain to answer is answered here, and to the byte as by ``routes.match``. Whatever is
unusual in a call (a body that is too large, a field that is wrong, a header that is no number) goes
to the application, which reads the same body and tells what is wrong: errors are worded once.
"""

from typing import NamedTuple

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.dependencies import MOST_TIMEOUT_MS, State
from service.middleware import announced_length
from service.problems import ProblemError, problem_response
from service.query import Query
from service.schemas import MatchRequest

PATH = "/match"


class _Route(NamedTuple):
    """What ``middleware.ObserveMiddleware`` reads of a route."""

    path_format: str


class DirectMatch:
    """Answers ordinary ``POST /match`` calls; all others just pass.

    Args:
        app: The application.
        max_body_bytes: Bytes allowed in a body.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._route = _Route(PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope["route"] = self._route
        if announced_length(scope) > self._max_body_bytes:
            await self._app(scope, receive, send)  # refuses it unread
            return
        messages = [await receive()]
        size = len(messages[0].get("body", b""))
        while messages[-1].get("more_body", False) and size <= self._max_body_bytes:
            messages.append(await receive())
            size += len(messages[-1].get("body", b""))
        if messages[-1]["type"] == "http.disconnect":
            raise ClientDisconnect
        if size > self._max_body_bytes:
            await self._app(scope, _again(messages, receive), send)
            return
        body = b"".join([message.get("body", b"") for message in messages])
        state: State = scope["state"]
        try:
            with state["metrics"].stage("validate"):
                request = MatchRequest.model_validate_json(body, context=state["limits"])
                deadline = _deadline(scope)
        except ValueError:  # pydantic's is one
            await self._app(scope, _again(messages, receive), send)
            return
        try:
            answer = await state["retriever"].answer(
                Query.of(request), scope["state"]["request_id"], deadline=deadline
            )
        except ProblemError as error:
            await problem_response(error)(scope, receive, send)
            return
        headers = [
            (b"content-length", b"%d" % len(answer)),
            (b"content-type", b"application/json"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def _deadline(scope: Scope) -> float | None:
    """Return the ``time.monotonic()`` until which the caller waits, None for no limit.

    Raises:
        ValueError: The header is not plainly a number of milliseconds.
    """
    given = [value for name, value in scope["headers"] if name == b"x-timeout-ms"]
    if not given:
        return None
    if len(given) > 1 or not given[0].isdigit():
        raise ValueError("X-Timeout-Ms")
    timeout_ms = int(given[0])
    if not 1 <= timeout_ms <= MOST_TIMEOUT_MS:
        raise ValueError("X-Timeout-Ms")
    started: float = scope["state"]["started"]
    return started + timeout_ms / 1000


def _again(messages: list[Message], receive: Receive) -> Receive:
    """Return a ``receive`` that gives these messages once more, then what follows them."""
    pending = iter(messages)

    async def receive_again() -> Message:
        return next(pending, None) or await receive()

    return receive_again
