import asyncio

import pytest

from service.caching.collecting import Collector

pytestmark = pytest.mark.anyio


class Doubling:
    """Doubles numbers; remembers what it was called with, and can be held up."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, numbers: list[int]) -> list[int]:
        self.calls.append(numbers)
        await self.go.wait()
        return [2 * number for number in numbers]


async def test_calls_of_one_turn_are_one() -> None:
    double = Doubling()
    collector = Collector(double, most=10)

    assert await asyncio.gather(*(collector.call(n) for n in range(5))) == [0, 2, 4, 6, 8]
    assert double.calls == [[0, 1, 2, 3, 4]]


async def test_a_later_call_waits_for_no_other() -> None:
    double = Doubling()
    double.go.clear()
    collector = Collector(double, most=10)
    first = collector.call(1)
    while not double.calls:
        await asyncio.sleep(0)
    second = collector.call(2)
    while len(double.calls) < 2:
        await asyncio.sleep(0)
    double.go.set()

    assert (await first, await second) == (2, 4)


async def test_more_than_fit_are_several_calls() -> None:
    double = Doubling()
    collector = Collector(double, most=2)

    assert await asyncio.gather(*(collector.call(n) for n in range(5))) == [0, 2, 4, 6, 8]
    assert double.calls == [[0, 1], [2, 3], [4]]


async def test_who_goes_away_takes_nothing_from_the_others() -> None:
    double = Doubling()
    collector = Collector(double, most=10)
    gone, stays = collector.call(1), collector.call(2)
    gone.cancel()

    assert await stays == 4
    assert double.calls == [[2]]


async def test_who_goes_away_during_the_call_takes_nothing_either() -> None:
    double = Doubling()
    double.go.clear()
    collector = Collector(double, most=10)
    gone, stays = collector.call(1), collector.call(2)
    while not double.calls:
        await asyncio.sleep(0)
    gone.cancel()
    double.go.set()

    assert await stays == 4


async def test_an_error_reaches_all_who_wait() -> None:
    async def fail(_: list[int]) -> list[int]:
        raise OSError("broken")

    collector = Collector(fail, most=10)
    gone, *rest = [collector.call(n) for n in range(3)]
    gone.cancel()
    for each in rest:
        with pytest.raises(OSError, match="broken"):
            await each


async def test_close_waits_for_what_was_asked() -> None:
    double = Doubling()
    collector = Collector(double, most=10)
    result = collector.call(1)
    await collector.close()

    assert result.result() == 2
    assert double.calls == [[1]]
