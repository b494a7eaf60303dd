import asyncio
import time

import pytest

from service.answering.flights import Flights
from service.api.problems import DeadlinePassed, Overloaded

pytestmark = pytest.mark.anyio


async def test_equal_keys_share_one_computation() -> None:
    flights = Flights[int]()
    begun = 0

    async def fly(answer: "asyncio.Future[int]") -> None:
        nonlocal begun
        begun += 1
        await asyncio.sleep(0.01)
        answer.set_result(7)

    async def ask() -> int:
        shared = await flights.join("key")
        return shared if shared is not None else await flights.start("key", fly)

    assert await asyncio.gather(*(ask() for _ in range(5))) == [7] * 5
    assert begun == 1
    assert await flights.join("key") is None


async def test_who_joins_gets_the_answer_though_the_first_went_away() -> None:
    flights = Flights[int]()

    async def fly(answer: "asyncio.Future[int]") -> None:
        await asyncio.sleep(0.01)
        answer.set_result(7)

    first = asyncio.create_task(flights.start("key", fly))
    await asyncio.sleep(0)
    second = asyncio.create_task(flights.join("key"))
    await asyncio.sleep(0)
    first.cancel()

    assert await second == 7


async def test_what_nobody_waits_for_any_more_is_not_computed() -> None:
    flights = Flights[int]()
    begun, cancelled = 0, 0

    async def fly(answer: "asyncio.Future[int]") -> None:
        nonlocal begun, cancelled
        begun += 1
        try:
            await asyncio.sleep(0.01 if begun > 1 else 60)
        except asyncio.CancelledError:
            cancelled += 1
            await asyncio.sleep(0)  # what is given up takes its time
            raise
        answer.set_result(7)

    first = asyncio.create_task(flights.start("key", fly))
    await asyncio.sleep(0)
    second = asyncio.create_task(flights.join("key"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    assert cancelled == 0
    second.cancel()
    await asyncio.wait([second])

    # Nobody joins what is given up, though it has not ended yet.
    assert await flights.join("key") is None
    assert await flights.start("key", fly) == 7
    assert (begun, cancelled) == (2, 1)
    await flights.close()


async def test_an_error_reaches_all_who_wait() -> None:
    flights = Flights[int]()

    async def fly(answer: "asyncio.Future[int]") -> None:
        await asyncio.sleep(0)
        raise Overloaded("full")

    first = asyncio.create_task(flights.start("key", fly))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded):
        await flights.join("key")
    with pytest.raises(Overloaded):
        await first


async def test_the_deadline_of_another_is_not_ours() -> None:
    flights = Flights[int]()

    async def fly(answer: "asyncio.Future[int]") -> None:
        await asyncio.sleep(0)
        raise DeadlinePassed("too late")

    first = asyncio.create_task(flights.start("key", fly))
    await asyncio.sleep(0)

    assert await flights.join("key") is None
    with pytest.raises(DeadlinePassed):
        await first


async def test_who_joins_waits_no_longer_than_its_own_deadline() -> None:
    flights = Flights[int]()
    go_on = asyncio.Event()

    async def fly(answer: "asyncio.Future[int]") -> None:
        await go_on.wait()
        answer.set_result(7)

    first = asyncio.create_task(flights.start("key", fly))
    await asyncio.sleep(0)
    with pytest.raises(DeadlinePassed):
        await asyncio.wait_for(flights.join("key", deadline=time.monotonic() + 0.01), 2)
    patient = asyncio.create_task(flights.join("key", deadline=time.monotonic() + 60))
    await asyncio.sleep(0)
    go_on.set()

    assert (await first, await patient) == (7, 7)


async def test_an_answer_is_given_before_it_is_stored() -> None:
    flights = Flights[int]()
    stored = asyncio.Event()

    async def fly(answer: "asyncio.Future[int]") -> None:
        answer.set_result(7)
        await stored.wait()

    assert await flights.start("key", fly) == 7
    assert await flights.join("key") == 7
    stored.set()
    await flights.close()
    assert await flights.join("key") is None


async def test_a_failure_after_the_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    flights = Flights[int]()

    async def fly(answer: "asyncio.Future[int]") -> None:
        answer.set_result(7)
        raise OSError("disk")

    assert await flights.start("key", fly) == 7
    await flights.close()
    assert "what followed an answer failed" in caplog.text
