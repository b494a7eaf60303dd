"""Item ids in paths: any text, with slashes, line ends and all."""

from starlette.convertors import PathConvertor, register_url_convertor


class _AnyIdConvertor(PathConvertor):
    """Starlette's ``path`` ends at a line end, and ``x%0A`` would be taken for ``x``."""

    regex = r"[\s\S]*"


register_url_convertor("any_id", _AnyIdConvertor())

ANY_ID = "{item_id:any_id}"
"""The part of a route that takes an item id."""
