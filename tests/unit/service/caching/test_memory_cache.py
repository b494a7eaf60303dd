from service.caching.memory_cache import MemoryCache


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def kept(cache: MemoryCache, keys: str) -> list[bytes | None]:
    return [cache.recall(key) for key in keys]


def test_an_answer_comes_back_as_it_was() -> None:
    cache = MemoryCache(max_bytes=100)
    cache.keep("key", b"answer", 60)

    assert cache.recall("key") == b"answer"
    assert cache.recall("other") is None


def test_memory_is_bounded_by_dropping_the_least_recently_used() -> None:
    cache = MemoryCache(max_bytes=10)
    cache.keep("a", b"12345", 60)
    cache.keep("b", b"12345", 60)
    cache.recall("a")
    cache.keep("c", b"12345", 60)

    assert kept(cache, "abc") == [b"12345", None, b"12345"]


def test_a_large_answer_drops_as_many_as_it_takes() -> None:
    cache = MemoryCache(max_bytes=10)
    for key in "abc":
        cache.keep(key, b"123", 60)
    cache.keep("d", b"1234567", 60)

    assert kept(cache, "abcd") == [None, None, b"123", b"1234567"]


def test_an_answer_larger_than_the_cache_is_not_kept() -> None:
    cache = MemoryCache(max_bytes=3)
    cache.keep("a", b"123", 60)
    cache.keep("b", b"1234", 60)

    assert kept(cache, "ab") == [b"123", None]


def test_a_cache_without_memory_keeps_nothing() -> None:
    cache = MemoryCache(max_bytes=0)
    cache.keep("a", b"1", 60)

    assert cache.recall("a") is None


def test_what_replaces_an_answer_takes_its_place_only() -> None:
    cache = MemoryCache(max_bytes=10)
    cache.keep("a", b"12345", 60)
    for _ in range(3):
        cache.keep("b", b"12345", 60)

    assert kept(cache, "ab") == [b"12345", b"12345"]


def test_each_answer_is_forgotten_after_its_own_time() -> None:
    clock = Clock()
    cache = MemoryCache(max_bytes=10, clock=clock)
    cache.keep("a", b"1", 5)
    cache.keep("b", b"2", 7)
    clock.now = 4.9
    assert kept(cache, "ab") == [b"1", b"2"]
    clock.now = 5
    assert kept(cache, "ab") == [None, b"2"]
    clock.now = 7
    assert kept(cache, "ab") == [None, None]


def test_what_was_forgotten_makes_room() -> None:
    clock = Clock()
    cache = MemoryCache(max_bytes=10, clock=clock)
    cache.keep("a", b"12345", 60)
    cache.keep("b", b"12345", 5)
    clock.now = 6
    assert cache.recall("b") is None
    cache.keep("c", b"12345", 60)

    assert kept(cache, "ac") == [b"12345", b"12345"]
