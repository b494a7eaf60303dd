"""Calls that tests of takedowns make."""

from typing import Any
from urllib.parse import quote

from service.api.answers import MatchAnswer, TakedownPut
from tests.bundles import item_id
from tests.problems import assert_is
from tests.services import InProcess

HISTORY = [item_id(row) for row in (1, 5, 9, 2)]
"""Of the user whom ``candidates`` asks for."""


def path_of(taken: str) -> str:
    """Return where the takedown of an item id is."""
    return f"/admin/takedowns/{quote(taken, safe='')}"


async def put(service: InProcess, taken: str, **body: str) -> Any:
    """Take an item down."""
    response = await service.client.put(path_of(taken), json=body or None)
    return assert_is(TakedownPut, response)


async def candidates(service: InProcess, **wishes: Any) -> list[str]:
    """Ask for candidates; return their ids, best first."""
    body = {"interactions": HISTORY, "top_k": 10} | wishes
    answer = assert_is(MatchAnswer, await service.client.post("/match", json=body))
    return [each["item_id"] for each in answer["candidates"]]
