"""What every request passes: an id, a measurement, a limit on its body. Plain ASGI."""

import asyncio
import logging
import random
import re
import time

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import METHODS, BodyTooLarge, defect, problem_response
from service.monitoring.logs import request_id as logged_request_id
from service.monitoring.metrics import Metrics
from service.web.starting import run_lifespan

_ACCEPTED_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)

CLIENT_CLOSED = 499
"""Counted, as by nginx, for a caller that hung up before it was answered."""

HUNG_UP = "hung_up"
"""In a request's state: ``protocol`` cancelled it, because its caller is gone."""

_MOST_DIGITS = 20
"""Of a length in bytes; what is longer is too large in any case."""

_logger = logging.getLogger(__name__)


class ObserveMiddleware:
    """Gives each request an id, counts and times it, and answers 500 to what nobody caught.

    The id is the caller's ``X-Request-ID`` where that is sane, else a new one; it comes back in
    the same header and stands in every log line. Puts ``request_id`` and ``started``
    (``time.monotonic()``) into the request's state.

    Args:
        app: The application.
        metrics: Told of each request.
        access_log: Write a log line for each request.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, access_log: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._access_level = logging.INFO if access_log else logging.DEBUG

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await run_lifespan(self._app, scope, receive, send)
            return
        started = time.monotonic()
        request_id = request_id_of(scope)
        header = (b"x-request-id", request_id.encode())
        scope.setdefault("state", {}).update(request_id=request_id, started=started)
        status, is_complete = 0, False

        async def send_observed(message: Message) -> None:
            nonlocal status, is_complete
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            else:
                is_complete = not message.get("more_body", False)
            await send(message)

        token = logged_request_id.set(request_id)
        try:
            await self._app(scope, receive, send_observed)
        except asyncio.CancelledError:
            if HUNG_UP not in scope["state"]:
                raise
            status = status or CLIENT_CLOSED
            _logger.debug("%s %s: the caller hung up", scope["method"], scope["path"])
        except ClientDisconnect:
            # Nobody is there to read an answer, and nothing failed here, whatever was answered.
            status = CLIENT_CLOSED
            _logger.debug("%s %s: the caller hung up", scope["method"], scope["path"])
        except Exception:
            _logger.exception("%s %s failed", scope["method"], scope["path"])
            if is_complete:
                return  # the application has answered 500 itself
            if status:
                raise  # half an answer is out already; the server closes the connection
            await problem_response(defect())(scope, receive, send_observed)
        finally:
            self._note(scope, status, time.monotonic() - started)
            logged_request_id.reset(token)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", "unmatched")
        # Any other name is one, so that callers cannot make up metric series.
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self._metrics.note_request(method, route, status, seconds)
        request_id = scope["state"]["request_id"]
        log_access(scope, route, status, seconds, request_id=request_id, level=self._access_level)


def log_access(
    scope: Scope,
    route: str,
    status: int,
    seconds: float,
    *,
    request_id: str,
    level: int,
) -> None:
    """Write the log line of a request that was answered."""
    if not _logger.isEnabledFor(level):
        return
    token = logged_request_id.set(request_id)
    _logger.log(
        level,
        "%s %s %d",
        scope["method"],
        scope["path"],
        status,
        extra={"route": route, "status": status, "milliseconds": round(seconds * 1000, 2)},
    )
    logged_request_id.reset(token)


def announced_length(scope: Scope) -> int:
    """Return the length that a body is said to have; 0 where nothing is said, or no number."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value[:_MOST_DIGITS]) if value.isdigit() else 0
    return 0


def request_id_of(scope: Scope) -> str:
    """Return the caller's id where it is sane, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given: str = value.decode("latin-1")
            if _ACCEPTED_ID.fullmatch(given):
                return given
            break
    # As unique as a UUID; that takes a system call, in which the computing thread would take over.
    return f"{random.getrandbits(128):032x}"


class BodyLimitMiddleware:
    """Refuses a body with too many bytes.

    Before reading it where its length is announced, else as soon as the limit is passed.
    (Starlette's ``max_body_size`` does the same, but answers in plain text whatever a handler says:
    ``RequestBodyLimitResponder.send_with_limit``.)

    Args:
        app: The application.
        max_bytes: Bytes allowed.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; all but HTTP requests just pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if announced_length(scope) > self._max_bytes:
            await problem_response(self._problem())(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._problem()
            return message

        await self._app(scope, receive_limited, send)

    def _problem(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body has more than {self._max_bytes} bytes; send fewer interactions or smaller "
            "batches, or raise OPAL_MAX_BODY_BYTES"
        )
