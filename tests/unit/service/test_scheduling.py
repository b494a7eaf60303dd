import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.metrics import Metrics
from service.scheduling import be_ordinary, interrupt_nobody
from service.work import WorkQueue

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's scheduling policies")


def _policy() -> int:
    return os.sched_getscheduler(0)


def test_a_thread_and_what_it_starts_interrupt_nobody_until_one_is_ordinary_again() -> None:
    def policies() -> list[int]:
        before = _policy()
        interrupt_nobody()
        with ThreadPoolExecutor(1) as started:
            inherited = started.submit(_policy).result()
        with ThreadPoolExecutor(1, initializer=be_ordinary) as ordinary:
            reset = ordinary.submit(_policy).result()
        return [before, _policy(), inherited, reset]

    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(policies).result()

    assert found == [os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_BATCH, os.SCHED_OTHER]


@pytest.mark.anyio
async def test_what_computes_is_ordinary_whoever_made_the_queue() -> None:
    queue = WorkQueue(max_pending=1, metrics=Metrics())
    interrupt_nobody()
    try:
        assert await queue.run(_policy) == os.SCHED_OTHER
        assert _policy() == os.SCHED_BATCH
    finally:
        be_ordinary()
        queue.close()


def test_a_policy_that_somebody_chose_stays() -> None:
    def policy() -> int:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        interrupt_nobody()
        be_ordinary()
        return _policy()

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(policy).result() == os.SCHED_IDLE


def test_where_the_system_forbids_it_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbid)

    interrupt_nobody()

    assert _policy() == os.SCHED_OTHER
