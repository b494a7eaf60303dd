"""Errors as RFC 9457 problem documents (``application/problem+json``).

    ProblemError                 status, title and detail of one answer
    ├── InvalidRequest      422  fields that cannot be used, each with its path
    ├── BrokenJson          400  a body that is not JSON, with the position
    ├── Unauthorized        401  /admin without its token
    ├── NotFound            404  an item, a bundle or a takedown that does not exist
    ├── BundleRefused       409  a bundle that must not go live, with the reason
    ├── TooManyTakedowns    409  as many items are taken down as the settings allow
    ├── BodyTooLarge        413  more bytes than allowed
    ├── RegistryUnusable    503  /admin cannot read or write the registry
    ├── TakedownsUnusable   503  takedowns cannot be read or changed where they are kept
    ├── NotReady            503  no bundle is live, or the worker is about to stop
    ├── Overloaded          503  the queue is full; comes with Retry-After
    └── DeadlinePassed      504  the caller's X-Timeout-Ms passed before work began

Anything else that escapes a route becomes a 500 without details; the log has the traceback.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.routing import Match

from service.api.answers import FieldProblem, Problem

PROBLEM_JSON = "application/problem+json"

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Of HTTP, those that a service like this may have."""

# A list of a thousand wrong ids needs no thousand messages.
_MAX_ERRORS = 20


class ProblemError(Exception):
    """Base of the errors that are answered as problem documents.

    Attributes:
        status: HTTP status.
        title: The kind of problem in words, the same for every case of it.
        headers: Headers that the answer carries.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, detail: str, *, errors: list[FieldProblem] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors

    def document(self) -> Problem:
        """Return the problem document."""
        return _document(self.status, self.title, self.detail, self.errors)


class InvalidRequest(ProblemError):  # noqa: N818 - named by what the caller did
    """Fields that cannot be used."""

    status = 422
    title = "Invalid request"


class BrokenJson(ProblemError):  # noqa: N818
    """A body that is not JSON."""

    status = 400
    title = "Broken JSON"


class Unauthorized(ProblemError):  # noqa: N818
    """A call of /admin without the token that the service was started with."""

    status = 401
    title = "Not authorized"
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class NotFound(ProblemError):  # noqa: N818
    """An item, a bundle or a takedown that does not exist."""

    status = 404
    title = "Not found"


class BundleRefused(ProblemError):  # noqa: N818
    """A bundle that must not go live; the one that is live stays."""

    status = 409
    title = "Bundle refused"


class TooManyTakedowns(ProblemError):  # noqa: N818
    """As many items are taken down as the settings allow."""

    status = 409
    title = "Too many takedowns"


class BodyTooLarge(ProblemError):  # noqa: N818
    """A body with more bytes than allowed."""

    status = 413
    title = "Body too large"


class RegistryUnusable(ProblemError):  # noqa: N818
    """A registry that cannot be read or written."""

    status = 503
    title = "Registry unusable"


class TakedownsUnusable(ProblemError):  # noqa: N818
    """Takedowns cannot be read or changed where they are kept; those in force stay."""

    status = 503
    title = "Takedowns unusable"


class NotReady(ProblemError):  # noqa: N818
    """No bundle is live, or the worker is about to stop."""

    status = 503
    title = "Not ready"


class Overloaded(ProblemError):  # noqa: N818
    """More work waits than a worker takes."""

    status = 503
    title = "Overloaded"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


class DeadlinePassed(ProblemError):  # noqa: N818
    """The caller stopped waiting before its work began."""

    status = 504
    title = "Deadline passed"


def defect() -> ProblemError:
    """Return the problem to answer with where the service itself is at fault."""
    return ProblemError("The service failed; its log tells more under this request's id")


def problem_response(error: ProblemError) -> Response:
    """Turn an error into its answer."""
    return _response(error.document(), error.headers)


def problem_of(error: ValidationError) -> ProblemError:
    """Turn what pydantic found into a problem: broken JSON (400) or invalid fields (422)."""
    problems = error.errors(include_url=False)
    if problems[0]["type"] == "json_invalid":
        return BrokenJson(problems[0]["msg"])
    return _invalid(problems)


def install_handlers(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem document."""

    async def on_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        return problem_response(error)

    async def on_invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(_invalid(error.errors()))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = f"{request.method} {request.url.path}: {error.detail}; see /docs for the calls"
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods_of(request))
        return _response(_document(error.status_code, error.detail, detail), headers)

    async def on_defect(_: Request, __: Exception) -> Response:
        return problem_response(defect())

    app.add_exception_handler(Exception, on_defect)
    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def problems_for_docs(*kinds: type[ProblemError]) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses=`` of a route: the problems that it answers with, for OpenAPI."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        summary = (kind.__doc__ or kind.title).splitlines()[0]
        if kind.status in responses:
            responses[kind.status]["description"] += " " + summary
            continue
        content = {
            "schema": {"$ref": "#/components/schemas/Problem"},
            "example": _document(kind.status, kind.title, summary),
        }
        responses[kind.status] = {"description": summary, "content": {PROBLEM_JSON: content}}
    return responses


def _methods_of(request: Request) -> list[str]:
    """List the methods of a path: a route knows its own only, and a path may have several."""

    def takes(method: str) -> bool:
        asked = {**request.scope, "method": method}
        return any(route.matches(asked)[0] is Match.FULL for route in request.app.routes)

    return [method for method in METHODS if takes(method)]


def _invalid(problems: Sequence[ErrorDetails] | Sequence[Any]) -> InvalidRequest:
    errors = [
        FieldProblem(
            path=".".join(str(part) for part in problem["loc"]) or "body", message=problem["msg"]
        )
        for problem in problems[:_MAX_ERRORS]
    ]
    first = f"{errors[0]['path']}: {errors[0]['message']}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidRequest(first + more, errors=errors)


def _document(
    status: int, title: str, detail: str, errors: list[FieldProblem] | None = None
) -> Problem:
    problem = Problem(type="about:blank", title=title, status=status, detail=detail)
    if errors:
        problem["errors"] = errors
    return problem


def _response(problem: Problem, headers: Mapping[str, str]) -> Response:
    return Response(
        orjson.dumps(problem),
        status_code=problem["status"],
        media_type=PROBLEM_JSON,
        headers=dict(headers),
    )
