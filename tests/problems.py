"""What answers of the service are checked against: the documented types."""

from typing import Any

import httpx
from pydantic import TypeAdapter

from service.api.answers import Problem
from service.api.problems import PROBLEM_JSON


def assert_problem(response: httpx.Response, status: int) -> Any:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM_JSON
    document = response.json()
    TypeAdapter(Problem).validate_python(document, strict=True)
    assert document["status"] == status
    return document


def assert_is(kind: Any, response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return TypeAdapter(kind).validate_python(response.json(), strict=True)
