import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from service.api.schemas import BatchRequest, Id, ItemOrInteraction, Limits, MatchRequest

LIMITS = Limits(interactions=3, exclude=2, batch=2)


def read(body: Any) -> MatchRequest:
    return MatchRequest.model_validate_json(json.dumps(body), context=LIMITS)


def problem_of(body: Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        read(body)
    first = caught.value.errors()[0]
    return ".".join(str(part) for part in first["loc"]), first["msg"]


def test_defaults_are_those_of_the_contract() -> None:
    request = read({})

    assert (request.top_k, request.exclude_seen, request.diversity) == (100, True, 0.0)
    assert (request.interactions, request.exclude, request.categories) == ([], [], None)
    assert not request.explain


def test_ids_may_be_strings_integers_or_objects() -> None:
    request = read({"user_id": 7, "interactions": ["a", 12, {"item_id": 13, "timestamp": 1.5}]})

    assert request.user_id == "7"
    assert request.item_ids == ["a", "12", "13"]


@pytest.mark.parametrize("timestamp", [0, 1.5, "2026-01-01", "2026-01-01T10:00:00Z", None])
def test_times_may_be_seconds_or_iso_8601(timestamp: Any) -> None:
    assert read({"interactions": [{"item_id": "a", "timestamp": timestamp}]}).item_ids == ["a"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"unknown": 1}, "unknown"),
        ({"user_id": True}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": 1.5}, "user_id"),
        ({"interactions": "a"}, "interactions"),
        ({"interactions": [True]}, "interactions.0.item_id"),
        ({"interactions": ["a", 1.5]}, "interactions.1.item_id"),
        ({"interactions": ["a", None]}, "interactions.1.item_id"),
        ({"interactions": [["a"]]}, "interactions.0.item_id"),
        ({"interactions": [""]}, "interactions.0.item_id"),
        ({"interactions": ["x" * 257]}, "interactions.0.item_id"),
        ({"interactions": [{}]}, "interactions.0.item_id"),
        ({"interactions": [{"item_id": "a", "when": 1}]}, "interactions.0.when"),
        ({"interactions": [{"item_id": "a", "timestamp": "soon"}]}, "interactions.0.timestamp"),
        ({"interactions": [{"item_id": "a", "timestamp": True}]}, "interactions.0.timestamp"),
        ({"interactions": ["a"] * 4}, "interactions"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 1001}, "top_k"),
        ({"top_k": "10"}, "top_k"),
        ({"top_k": 10.0}, "top_k"),
        ({"top_k": True}, "top_k"),
        ({"top_k": 10**30}, "top_k"),
        ({"exclude_seen": 1}, "exclude_seen"),
        ({"exclude": [False]}, "exclude.0"),
        ({"exclude": ["a", "b", "c"]}, "exclude"),
        ({"diversity": 1.1}, "diversity"),
        ({"diversity": -0.1}, "diversity"),
        ({"diversity": float("nan")}, "diversity"),
        ({"diversity": float("inf")}, "diversity"),
        ({"explain": "yes"}, "explain"),
        ({"categories": ["a"]}, "categories"),
        ({"categories": {"allow": []}}, "categories.allow"),
        ({"categories": {"allow": [1]}}, "categories.allow.0"),
        ({"categories": {"only": ["a"]}}, "categories.only"),
        ([], ""),
    ],
)
def test_a_mistake_is_told_with_its_path(body: Any, path: str) -> None:
    assert problem_of(body)[0] == path


numbers = st.integers(-3, 3) | st.sampled_from([10**18, 10**18 + 1, -(10**30), 10**300, 10**400])
scalars = (
    st.none() | st.booleans() | numbers | st.floats() | st.text(max_size=3) | st.just("x" * 257)
)
objects = st.dictionaries(
    st.sampled_from(["item_id", "timestamp", "when"]),
    scalars | st.sampled_from(["2026-01-01", "soon"]),
)


@given(elements=st.lists(scalars | objects | st.lists(scalars, max_size=1), max_size=3))
def test_what_is_checked_quickly_is_checked_as_element_by_element(elements: list[Any]) -> None:
    one_by_one = TypeAdapter(list[ItemOrInteraction])
    body = json.dumps({"interactions": elements})
    try:
        expected: Any = [
            each.item_id for each in one_by_one.validate_python(json.loads(body)["interactions"])
        ]
    except ValidationError as error:
        expected = [(("interactions", *each["loc"]), each["msg"]) for each in error.errors()]

    try:
        found: Any = MatchRequest.model_validate_json(body, context=LIMITS).item_ids
    except ValidationError as error:
        found = [(each["loc"], each["msg"]) for each in error.errors()]

    assert found == expected


@given(elements=st.lists(scalars, max_size=2))
def test_ids_to_exclude_are_checked_as_one_by_one(elements: list[Any]) -> None:
    body = {"exclude": elements}
    try:
        expected: Any = sorted(set(TypeAdapter(list[Id]).validate_python(elements)))
    except ValidationError:
        expected = None

    try:
        found: Any = MatchRequest.model_validate(body, context=LIMITS).excluded_ids
    except ValidationError:
        found = None

    assert found == expected


def test_a_history_that_is_too_long_tells_both_numbers() -> None:
    _, message = problem_of({"interactions": ["a"] * 4})

    assert message == "has 4 elements, at most 3 are allowed"


def test_a_batch_keeps_its_requests_unchecked() -> None:
    batch = BatchRequest.model_validate_json('{"requests": [{"top_k": 0}, 3]}', context=LIMITS)

    assert list(batch.requests) == [{"top_k": 0}, 3]


@pytest.mark.parametrize("requests", [[], [{}, {}, {}]])
def test_a_batch_is_neither_empty_nor_too_long(requests: list[Any]) -> None:
    with pytest.raises(ValidationError):
        BatchRequest.model_validate_json(json.dumps({"requests": requests}), context=LIMITS)
