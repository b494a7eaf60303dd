from dataclasses import replace

import pytest

from service.cache import MemoryCache, NullCache, cache_key
from service.query import Query
from service.schemas import MatchRequest

pytestmark = pytest.mark.anyio
QUERY = Query(history=("a", "b"))


async def test_an_answer_comes_back_as_it_was() -> None:
    cache = MemoryCache(ttl=60, max_bytes=100)
    await cache.put("key", b"answer")

    assert await cache.get("key") == b"answer"
    assert await cache.get("other") is None


async def test_memory_is_bounded_by_dropping_the_least_recently_used() -> None:
    cache = MemoryCache(ttl=60, max_bytes=10)
    await cache.put("a", b"12345")
    await cache.put("b", b"12345")
    await cache.get("a")
    await cache.put("c", b"12345")

    assert [await cache.get(key) for key in "abc"] == [b"12345", None, b"12345"]


async def test_an_answer_larger_than_the_cache_is_not_kept() -> None:
    cache = MemoryCache(ttl=60, max_bytes=3)
    await cache.put("a", b"1234")

    assert await cache.get("a") is None


async def test_an_answer_is_forgotten_after_its_time() -> None:
    cache = MemoryCache(ttl=1e-9, max_bytes=10)
    await cache.put("a", b"1")

    assert await cache.get("a") is None


async def test_a_closed_cache_is_empty() -> None:
    cache = MemoryCache(ttl=60, max_bytes=10)
    await cache.put("a", b"1")
    await cache.close()

    assert await cache.get("a") is None


async def test_the_null_cache_keeps_nothing() -> None:
    cache = NullCache()
    await cache.put("a", b"1")
    await cache.close()

    assert await cache.get("a") is None


@pytest.mark.parametrize(
    "other",
    [
        replace(QUERY, history=("b", "a")),
        replace(QUERY, top_k=99),
        replace(QUERY, exclude_seen=False),
        replace(QUERY, exclude=("c",)),
        replace(QUERY, allow=("x",)),
        replace(QUERY, deny=("x",)),
        replace(QUERY, diversity=0.1),
        replace(QUERY, aggregation="quota"),
        replace(QUERY, explain=True),
    ],
)
async def test_every_wish_is_part_of_the_key(other: Query) -> None:
    assert cache_key("v1", "e", other) != cache_key("v1", "e", QUERY)


async def test_a_release_with_another_format_has_other_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = cache_key("v1", "e", QUERY)
    monkeypatch.setattr("service.cache._FORMAT", 3)

    assert ours.startswith("opal:match:2:v1:e:")
    assert cache_key("v1", "e", QUERY) != ours


async def test_the_bundle_is_part_of_the_key() -> None:
    assert cache_key("v1", "e", QUERY) != cache_key("v2", "e", QUERY)


async def test_the_takedowns_are_part_of_the_key() -> None:
    assert cache_key("v1", "e", QUERY) != cache_key("v1", "f", QUERY)


async def test_what_does_not_change_the_answer_is_not_part_of_the_key() -> None:
    one = MatchRequest.model_validate(
        {"user_id": 1, "interactions": ["a", 2], "exclude": ["x", "y"]}
    )
    same = MatchRequest.model_validate(
        {
            "user_id": 2,
            "interactions": [{"item_id": "a", "timestamp": 5}, "2"],
            "exclude": ["y", "x", "x"],
            "categories": {"deny": []},
        }
    )

    assert cache_key("v", "e", Query.of(one)) == cache_key("v", "e", Query.of(same))
