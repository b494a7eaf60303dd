import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

import pytest

from service.answering.batching import MicroBatcher
from service.answering.work import WorkQueue
from service.api.problems import DeadlinePassed, Overloaded
from service.monitoring.metrics import Metrics

pytestmark = pytest.mark.anyio


class Squares:
    """Computes squares; notes what came together; can be held, and fails for 13."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        self.threads.add(threading.get_ident())
        assert self.may_go_on.wait(5)
        if 13 in numbers:
            raise ZeroDivisionError("13")
        return [number**2 for number in numbers]

    @contextmanager
    def held(self) -> Iterator[None]:
        self.may_go_on.clear()
        try:
            yield
        finally:
            self.may_go_on.set()


@pytest.fixture
def squares() -> Squares:
    return Squares()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def queue(metrics: Metrics) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(max_pending=10, metrics=metrics)
    yield queue
    queue.close()


def batcher(
    squares: Squares, queue: WorkQueue, metrics: Metrics, *, max_wait: float = 0
) -> MicroBatcher[int, int]:
    return MicroBatcher(squares, queue=queue, max_batch=4, max_wait=max_wait, metrics=metrics)


async def until_begun(squares: Squares, batches: int) -> None:
    async with asyncio.timeout(5):
        while len(squares.batches) < batches:
            await asyncio.sleep(0.001)


async def test_what_arrives_during_a_computation_goes_together(
    squares: Squares, queue: WorkQueue, metrics: Metrics
) -> None:
    batching = batcher(squares, queue, metrics)
    with squares.held():
        first = asyncio.create_task(batching.run(1))
        await until_begun(squares, 1)
        others = [asyncio.create_task(batching.run(number)) for number in range(2, 8)]
        await asyncio.sleep(0.01)

    assert await asyncio.gather(first, *others) == [number**2 for number in range(1, 8)]
    assert squares.batches == [[1], [2, 3, 4, 5], [6, 7]]
    assert len(squares.threads) == 1
    assert squares.threads != {threading.get_ident()}
    text = metrics.render().decode()
    assert "opal_micro_batch_size_count 3.0" in text
    assert "opal_micro_batch_size_sum 7.0" in text
    assert "opal_pending 0.0" in text


async def test_what_arrives_in_one_turn_of_the_loop_goes_together(
    squares: Squares, queue: WorkQueue, metrics: Metrics
) -> None:
    batching = batcher(squares, queue, metrics)

    await asyncio.gather(*(batching.run(number) for number in range(3)))

    assert squares.batches == [[0, 1, 2]]


async def test_with_a_wait_one_that_comes_later_goes_along(
    squares: Squares, queue: WorkQueue, metrics: Metrics
) -> None:
    batching = batcher(squares, queue, metrics, max_wait=0.2)
    first = asyncio.create_task(batching.run(1))
    await asyncio.sleep(0.02)

    await asyncio.gather(first, batching.run(2))
    assert squares.batches == [[1, 2]]

    # A full batch waits for nobody: with a wait of an hour this would not end.
    batching = batcher(squares, queue, metrics, max_wait=3600)
    await asyncio.wait_for(asyncio.gather(*(batching.run(n) for n in range(4))), 5)
    assert squares.batches[1:] == [[0, 1, 2, 3]]


async def test_an_error_reaches_only_the_one_whose_it_is(
    squares: Squares, queue: WorkQueue, metrics: Metrics
) -> None:
    batching = batcher(squares, queue, metrics)

    results = await asyncio.gather(
        *(batching.run(number) for number in (12, 13, 14)), return_exceptions=True
    )

    assert results[0] == 144
    assert isinstance(results[1], ZeroDivisionError)
    assert results[2] == 196
    assert await batching.run(5) == 25


async def test_who_went_away_is_not_worked_for(
    squares: Squares, queue: WorkQueue, metrics: Metrics
) -> None:
    batching = batcher(squares, queue, metrics)
    with squares.held():
        first = asyncio.create_task(batching.run(1))
        await until_begun(squares, 1)
        gone, stays = (asyncio.create_task(batching.run(number)) for number in (2, 3))
        await asyncio.sleep(0.01)
        gone.cancel()
        first.cancel()  # is being computed; its result is thrown away
        await asyncio.sleep(0.01)

    assert await stays == 9
    assert squares.batches == [[1], [3]]
    assert b"opal_pending 0.0" in metrics.render()


async def test_who_stopped_waiting_is_told_and_not_worked_for(
    squares: Squares, queue: WorkQueue, metrics: Metrics
) -> None:
    batching = batcher(squares, queue, metrics)
    with squares.held():
        first = asyncio.create_task(batching.run(1))
        await until_begun(squares, 1)
        late = asyncio.create_task(batching.run(2, deadline=time.monotonic() + 0.01))
        early = asyncio.create_task(batching.run(3, deadline=time.monotonic() + 60))
        # Told in time, though its turn has not come, and its place is another's.
        with pytest.raises(DeadlinePassed):
            await asyncio.wait_for(late, 2)
        assert squares.batches == [[1]]
        others = [asyncio.create_task(batching.run(number)) for number in range(20, 28)]
        await asyncio.sleep(0.01)

    assert await asyncio.gather(*others) == [number**2 for number in range(20, 28)]
    assert (await first, await early) == (1, 9)
    assert 2 not in [number for batch in squares.batches for number in batch]
    assert b'opal_shed_total{reason="deadline"} 1.0' in metrics.render()


async def test_more_than_the_limit_is_refused(
    squares: Squares, queue: WorkQueue, metrics: Metrics
) -> None:
    batching = batcher(squares, queue, metrics)
    with squares.held():
        tasks = [asyncio.create_task(batching.run(number)) for number in range(10)]
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded):
            await batching.run(99)

    assert len(await asyncio.gather(*tasks)) == 10
    assert await batching.run(4) == 16
    assert 99 not in [number for batch in squares.batches for number in batch]


async def test_what_breaks_off_a_computation_ends_no_other(
    queue: WorkQueue, metrics: Metrics
) -> None:
    class Panic(BaseException):
        pass

    def compute(numbers: Sequence[int]) -> list[int]:
        if 13 in numbers:
            raise Panic("13")
        return list(numbers)

    batches = MicroBatcher(compute, queue=queue, max_batch=1, max_wait=0, metrics=metrics)
    with pytest.raises(RuntimeError, match="13"):
        await batches.run(13)

    assert await batches.run(7) == 7
