import asyncio
import threading
import time

import pytest

from service.answering.work import WorkQueue
from service.api.problems import DeadlinePassed, Overloaded
from service.monitoring.metrics import Metrics

pytestmark = pytest.mark.anyio


async def test_work_runs_in_one_thread_in_its_order() -> None:
    queue = WorkQueue(max_pending=10, metrics=Metrics())
    seen: list[int] = []

    def work(number: int) -> int:
        seen.append(number)
        return threading.get_ident()

    threads = await asyncio.gather(*(queue.run(lambda n=n: work(n)) for n in range(5)))  # type: ignore[misc]
    queue.close()

    assert seen == list(range(5))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_more_than_the_limit_is_refused_and_counted() -> None:
    metrics = Metrics()
    queue = WorkQueue(max_pending=1, metrics=metrics)
    go_on = threading.Event()
    first = asyncio.create_task(queue.run(go_on.wait))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded):
        await queue.run(lambda: None)

    go_on.set()
    assert await first
    assert await queue.run(lambda: 3) == 3
    queue.close()
    text = metrics.render().decode()
    assert 'opal_shed_total{reason="overload"} 1.0' in text
    assert "opal_pending 0.0" in text


async def test_work_is_not_begun_after_its_deadline() -> None:
    queue = WorkQueue(max_pending=10, metrics=Metrics())
    begun: list[int] = []
    slow = asyncio.create_task(queue.run(lambda: time.sleep(0.05)))
    await asyncio.sleep(0)

    with pytest.raises(DeadlinePassed):
        await queue.run(lambda: begun.append(1), deadline=time.monotonic() + 0.01)

    await slow
    assert await queue.run(lambda: 1, deadline=time.monotonic() + 10) == 1
    queue.close()
    assert begun == []


async def test_an_error_of_the_work_reaches_the_caller() -> None:
    queue = WorkQueue(max_pending=1, metrics=Metrics())

    with pytest.raises(ZeroDivisionError):
        await queue.run(lambda: 1 / 0)

    assert await queue.run(lambda: 2) == 2
    queue.close()
