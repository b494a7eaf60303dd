"""Item ids in paths: any text, with slashes, line ends and all."""

from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.convertors import PathConvertor, register_url_convertor

from service.api.answers import FieldProblem
from service.api.problems import InvalidRequest


class _AnyIdConvertor(PathConvertor):
    """Starlette's ``path`` ends at a line end, and ``x%0A`` would be taken for ``x``."""

    regex = r"[\s\S]*"


register_url_convertor("any_id", _AnyIdConvertor())

ANY_ID = "{item_id:any_id}"
"""The part of a route that takes an item id."""


async def require_readable_id(request: Request) -> None:
    """Refuse an id that is no text.

    The server puts U+FFFD for bytes that are not UTF-8, so that different ids would become one.

    Raises:
        InvalidRequest: The path is not UTF-8; names its parameter.
    """
    if "item_id" not in request.path_params:
        return
    raw: bytes = request.scope.get("raw_path") or b""
    try:
        unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        message = "not UTF-8; percent-encode the bytes of the id's UTF-8"
        errors = [FieldProblem(path="path.item_id", message=message)]
        raise InvalidRequest(f"path.item_id: {message}", errors=errors) from None
