import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.answering.scheduling import be_ordinary, interrupt_nobody
from service.answering.work import WorkQueue
from service.monitoring.metrics import Metrics

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


@pytest.mark.parametrize("policy", ["SCHED_IDLE", "SCHED_BATCH"])
def test_a_policy_that_somebody_chose_stays(policy: str) -> None:
    """In a process of its own, of which nothing was changed yet."""
    code = (
        "import os\n"
        "from service.answering.scheduling import be_ordinary, interrupt_nobody\n"
        f"os.sched_setscheduler(0, os.{policy}, os.sched_param(0))\n"
        "interrupt_nobody()\n"
        "be_ordinary()\n"
        f"assert os.sched_getscheduler(0) == os.{policy}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_where_the_system_forbids_it_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbid)

    interrupt_nobody()

    assert _policy() == os.SCHED_OTHER
