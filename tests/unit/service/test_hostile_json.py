"""Whatever JSON a caller thinks of: an answer or a problem document, never a 5xx."""

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bundles import item_id
from tests.services import InProcess

pytestmark = pytest.mark.anyio

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.integers(0, 320).map(item_id),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
interaction = st.integers(0, 320).map(item_id) | st.fixed_dictionaries(
    {"item_id": values}, optional={"timestamp": values}
)
fields = {
    "user_id": values,
    "interactions": st.lists(interaction | values, max_size=8) | values,
    "top_k": st.integers(-1, 1001) | values,
    "exclude_seen": st.booleans() | values,
    "exclude": st.lists(values, max_size=5) | values,
    "categories": st.fixed_dictionaries({}, optional={"allow": values, "deny": values}) | values,
    "diversity": st.floats(-0.1, 1.1) | values,
    "explain": st.booleans() | values,
}
requests = st.fixed_dictionaries({}, optional=fields) | values
alive = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


async def status_of(service: InProcess, path: str, body: Any) -> int:
    response = await service.client.post(path, content=orjson.dumps(body))
    if response.status_code != 200:
        assert response.json()["status"] == response.status_code
    return response.status_code


@alive
@given(body=requests)
async def test_match_answers_or_refuses(service: InProcess, body: Any) -> None:
    assert await status_of(service, "/match", body) in (200, 422)


@alive
@given(bodies=st.lists(requests, max_size=4) | values)
async def test_batch_answers_or_refuses(service: InProcess, bodies: Any) -> None:
    assert await status_of(service, "/match/batch", {"requests": bodies}) in (200, 422)


@alive
@given(raw=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
async def test_bytes_are_answered_or_refused(service: InProcess, raw: bytes) -> None:
    response = await service.client.post("/interests", content=raw)

    assert response.status_code in (200, 400, 422)
