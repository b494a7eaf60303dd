"""The API's description: what ``/docs`` and ``/openapi.json`` show beyond the routes themselves."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from service.api.answers import Problem
from service.api.schemas import (
    BatchRequest,
    Body,
    HistoryRequest,
    MatchRequest,
    ReloadRequest,
    TakedownRequest,
)

_REFERENCE = "#/components/schemas/{model}"

DESCRIPTION = """
Finds the items that a user may like next: the history is encoded as a few *interests*, the items
nearest to any of them are the *candidates* for your ranking model.

* A user needs no account here: send the history, oldest first, with every request.
* The same request on the same bundle gives the same answer, in the same order; a shorter `top_k`
  is a prefix of a longer one (with `diversity` 0 and `aggregation` `max`, on an exact index; an
  approximate one may find others when more is asked for).
* Nothing known about a user is no error: popular items answer (`source`: `fallback`).
* Ids are strings or integers and come back as strings. Unknown fields are refused.
* Errors are problem documents (`application/problem+json`, RFC 9457) with the path of the field.
"""

TAGS = [
    {"name": "match", "description": "Users in, candidates out."},
    {"name": "items", "description": "What is near an item."},
    {"name": "operations", "description": "For balancers and for Prometheus."},
    {
        "name": "admin",
        "description": "Which bundle is live, and what is not served of it. Reaches all workers.",
    },
]


class DocumentedApp(FastAPI):
    """A FastAPI whose description includes bodies that routes read by themselves."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            document["components"]["schemas"] |= _component_schemas()
        return super().openapi()


def program_version() -> str:
    """Return the version of the installed program; a checkout runs without being installed."""
    try:
        return version("opal-match")
    except PackageNotFoundError:
        return "0+checkout"


def body_docs(schema: type[Body], *, required: bool = True) -> dict[str, Any]:
    """Return the ``openapi_extra=`` of a route that reads ``schema`` through ``body_of``."""
    content = {"application/json": {"schema": {"$ref": _REFERENCE.format(model=schema.__name__)}}}
    return {"requestBody": {"required": required, "content": content}}


def _component_schemas() -> dict[str, Any]:
    bodies = (MatchRequest, BatchRequest, HistoryRequest, ReloadRequest, TakedownRequest)
    _, schemas = models_json_schema(
        [(body, "validation") for body in bodies], ref_template=_REFERENCE
    )
    problem = TypeAdapter(Problem).json_schema(ref_template=_REFERENCE)
    found: dict[str, Any] = schemas["$defs"] | problem.pop("$defs") | {"Problem": problem}
    return found
