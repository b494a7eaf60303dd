"""The wire format: a change to it is seen in review.

After a change that is meant, write the golden file again:

    python -m tests.contract.test_openapi
"""

import json
import re
from pathlib import Path
from typing import Any

from service.app import create_app
from service.settings import Settings

GOLDEN = Path(__file__).parent / "openapi.json"

CALLS = {
    ("post", "/match"),
    ("post", "/match/batch"),
    ("post", "/interests"),
    ("get", "/items/{item_id}/similar"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/admin/bundles"),
    ("post", "/admin/reload"),
    ("post", "/admin/rollback"),
    ("get", "/admin/takedowns"),
    ("put", "/admin/takedowns/{item_id}"),
    ("get", "/admin/takedowns/{item_id}"),
    ("delete", "/admin/takedowns/{item_id}"),
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document; the program's version is no part of the contract."""
    made = create_app(Settings(registry=Path("registry"))).openapi()
    made["info"]["version"] = "*"
    plain: dict[str, Any] = json.loads(json.dumps(made))
    return plain


def test_the_wire_format_is_the_one_on_record() -> None:
    assert document() == json.loads(GOLDEN.read_text()), "python -m tests.contract.test_openapi"


def test_every_call_is_there_and_described() -> None:
    paths = document()["paths"]
    calls = {(method, path): call for path in paths for method, call in paths[path].items()}

    assert set(calls) == CALLS
    for call in calls.values():
        assert call["summary"]
        assert call["description"]
        assert len(call["tags"]) == 1


def test_every_field_is_described() -> None:
    undescribed = [
        f"{name}.{field}"
        for name, schema in document()["components"]["schemas"].items()
        for field, description in schema.get("properties", {}).items()
        if "description" not in description
    ]

    assert undescribed == []


def test_every_reference_leads_somewhere() -> None:
    made = document()
    schemas = made["components"]["schemas"]
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(made)))

    assert references <= set(schemas)


def test_errors_are_documented_as_problem_documents() -> None:
    responses = document()["paths"]["/match"]["post"]["responses"]

    assert {"200", "400", "413", "422", "503", "504"} <= set(responses)
    for status, response in responses.items():
        if status != "200":
            assert list(response["content"]) == ["application/problem+json"]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(document(), indent=1, sort_keys=True) + "\n")
