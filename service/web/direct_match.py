"""``POST /match`` without ASGI, whose tasks and messages take longer than all around a computation.

Only what is plain to answer is answered here, and to the byte as by ``routes.match``. Whatever is
unusual in a call (a field that is wrong, a header that is no number) is left to the application,
which reads the same body and tells what is wrong: errors are worded once.
"""

import logging
import time
from collections.abc import Callable, Iterable

from starlette.types import Scope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from service.answering.inquiry import Inquiry
from service.answering.serving import Found, Retriever, as_answer
from service.api.problems import NotReady, ProblemError, defect, problem_response
from service.api.query import Query
from service.api.schemas import MOST_TIMEOUT_MS, Limits, MatchRequest
from service.monitoring.logs import request_id as logged_request_id
from service.monitoring.metrics import Metrics
from service.web.middleware import CLIENT_CLOSED, announced_length, log_access, request_id_of

PATH = "/match"

Respond = Callable[[int, Iterable[tuple[bytes, bytes]], bytes], None]
"""Sends status, headers and body."""

_logger = logging.getLogger(__name__)


class DirectMatch:
    """Answers ordinary ``POST /match`` calls.

    Args:
        retriever: Has or computes the answers.
        limits: On what a request holds.
        max_body_bytes: Bytes allowed in a body.
        metrics: Told of each request.
        access_log: Write a log line for each request.

    Attributes:
        retriever: As given.
    """

    def __init__(
        self,
        retriever: Retriever,
        *,
        limits: Limits,
        max_body_bytes: int,
        metrics: Metrics,
        access_log: bool,
    ) -> None:
        self.retriever = retriever
        self._metrics = metrics
        self._access_level = logging.INFO if access_log else logging.DEBUG
        self._limits = limits
        # What uvicorn reads of a body before somebody asks for it: what is longer would not come.
        self._most_bytes = min(HIGH_WATER_LIMIT, max_body_bytes)

    def takes(self, scope: Scope) -> bool:
        """Tell from its head whether a call may be answered here, once its body is there."""
        return (
            scope["path"] == PATH
            and scope["method"] == "POST"
            and 0 < announced_length(scope) <= self._most_bytes
        )

    def begin(
        self, scope: Scope, body: bytes | bytearray, started: float, respond: Respond
    ) -> "DirectCall | None":
        """Begin to answer a call.

        Args:
            scope: Its head, which ``takes`` has seen.
            body: All of its body.
            started: ``time.monotonic()`` when its head was there.
            respond: Called once, perhaps before this returns.

        Returns:
            The call; None: the application has to answer it.
        """
        begun = time.perf_counter()
        try:
            request = MatchRequest.model_validate_json(body, context=self._limits)
            deadline = _deadline(scope, started)
        except ValueError:  # pydantic's is one
            return None  # and validated once more, and measured there
        self._metrics.note_stage("validate", time.perf_counter() - begun)
        call = self.call(scope, started, respond)
        call.inquire(Query.of(request), deadline)
        return call

    def call(self, scope: Scope, started: float, respond: Respond) -> "DirectCall":
        """Return a call of which nothing is asked yet; see ``begin``."""
        return DirectCall(self, scope, started, respond)

    def note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        """Count a call that is over; see ``ObserveMiddleware``."""
        self._metrics.note_request("POST", PATH, status, seconds)
        log_access(scope, PATH, status, seconds, request_id=request_id, level=self._access_level)


class DirectCall:
    """One call under way.

    Args:
        direct: What answers.
        scope: The call's head.
        started: ``time.monotonic()`` when it was there.
        respond: Sends the answer.
    """

    __slots__ = ("_direct", "_inquiry", "_respond", "_scope", "_started", "request_id")

    def __init__(self, direct: DirectMatch, scope: Scope, started: float, respond: Respond) -> None:
        self.request_id = request_id_of(scope)
        self._direct = direct
        self._scope = scope
        self._started = started
        self._respond = respond
        self._inquiry: Inquiry | None = None

    def inquire(self, query: Query, deadline: float | None) -> None:
        """Look for the answer."""
        self._inquiry = Inquiry(
            self._direct.retriever,
            query,
            deadline,
            request_id=self.request_id,
            found=self._found,
            failed=self._failed,
        )
        self._inquiry.begin()

    def hang_up(self) -> None:
        """Work no more for a caller that is gone."""
        self._leave()
        self._note(CLIENT_CLOSED)

    def abandon(self) -> None:
        """Tell a caller that the worker cannot wait for its answer any longer."""
        self._leave()
        self._failed(NotReady("the worker stops; ask again"))

    def _leave(self) -> None:
        if self._inquiry is not None:
            self._inquiry.leave()

    def _found(self, found: Found) -> None:
        body = as_answer(found, self.request_id)
        headers = (
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
            (b"x-request-id", self.request_id.encode()),
        )
        self._respond(200, headers, body)
        self._note(200)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, ProblemError):
            token = logged_request_id.set(self.request_id)
            _logger.error("POST %s failed", PATH, exc_info=error)
            logged_request_id.reset(token)
            error = defect()
        response = problem_response(error)
        headers = [*response.raw_headers, (b"x-request-id", self.request_id.encode())]
        self._respond(response.status_code, headers, bytes(response.body))
        self._note(response.status_code)

    def _note(self, status: int) -> None:
        seconds = time.monotonic() - self._started
        self._direct.note(self._scope, self.request_id, status, seconds)
        self._inquiry = None  # it holds this call; together they would wait for the collector


def _deadline(scope: Scope, started: float) -> float | None:
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
    return started + timeout_ms / 1000
