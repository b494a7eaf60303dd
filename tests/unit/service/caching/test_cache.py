from dataclasses import replace

import pytest

from service.api.query import Query
from service.api.schemas import MatchRequest
from service.caching.cache import NullCache, TieredCache, cache_key
from service.caching.lives import Lives
from service.caching.memory_cache import MemoryCache

pytestmark = pytest.mark.anyio
QUERY = Query(history=("a", "b"))


class Shared(NullCache):
    """A shared tier that has what is put into it, and tells what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.given_up: list[str] = []

    async def get(self, key: str, *, deadline: float | None = None) -> bytes | None:
        self.asked.append(key)
        return self.answers.get(key)

    async def put(self, key: str, answer: bytes) -> None:
        self.answers[key] = answer

    def give_up(self, key: str) -> None:
        self.given_up.append(key)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def tiers(*, ttl: float = 100, draw: float = 0.0) -> tuple[TieredCache, Shared, Clock]:
    clock, shared = Clock(), Shared()
    memory = MemoryCache(max_bytes=100, clock=clock)
    return TieredCache(memory, shared, Lives(ttl, draw=lambda: draw)), shared, clock


async def test_what_was_computed_here_is_recalled_and_shared() -> None:
    cache, shared, _ = tiers()
    await cache.put("a", b"1")

    assert cache.recall("a") == b"1"
    assert shared.answers == {"a": b"1"}
    assert cache.recall("b") is None


async def test_what_was_found_in_the_shared_tier_is_recalled() -> None:
    cache, shared, _ = tiers()
    shared.answers["a"] = b"1"
    assert cache.recall("a") is None

    assert await cache.get("a") == b"1"
    assert cache.recall("a") == b"1"
    assert await cache.get("b") is None
    assert cache.recall("b") is None


async def test_what_is_given_up_is_told_to_the_shared_tier() -> None:
    cache, shared, _ = tiers()
    cache.give_up("a")

    assert shared.given_up == ["a"]


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
async def test_an_answer_is_never_served_longer_than_the_ttl(draw: float) -> None:
    lives = Lives(100, draw=lambda: draw)
    # The worst case: it is copied from Redis in the last moment of its life there.
    cache, shared, clock = tiers(draw=draw)
    shared.answers["a"] = b"1"
    clock.now = lives.of_shared()
    await cache.get("a")
    assert cache.recall("a") == b"1"
    clock.now = 100
    assert cache.recall("a") is None

    cache, _, clock = tiers(draw=draw)
    await cache.put("a", b"1")
    clock.now = 89
    assert cache.recall("a") == b"1"
    clock.now = 100
    assert cache.recall("a") is None


async def test_answers_made_together_do_not_end_together() -> None:
    lives = Lives(100)

    for life in (lives.of_own, lives.of_shared, lives.of_copy):
        drawn = [life() for _ in range(100)]
        assert len(set(drawn)) > 90
        assert min(drawn) >= 0.9 * max(drawn)


async def test_a_closed_cache_is_empty() -> None:
    cache, _, _ = tiers()
    await cache.put("a", b"1")
    await cache.close()

    assert cache.recall("a") is None


async def test_the_null_cache_keeps_nothing() -> None:
    cache = NullCache()
    await cache.put("a", b"1")
    cache.give_up("b")
    await cache.close()

    assert await cache.get("a") is None
    assert cache.recall("a") is None


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
    monkeypatch.setattr("service.caching.cache._FORMAT", 4)

    assert ours.startswith("opal:match:3:v1:e:")
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
