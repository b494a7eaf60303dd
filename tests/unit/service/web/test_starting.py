"""What a worker that cannot start says, and to whom."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from model.errors import OpalError, RegistryError
from service.api.problems import BundleRefused
from service.web.starting import run_lifespan

pytestmark = pytest.mark.anyio


async def sent_by(app: Starlette) -> list[Message]:
    """Start and stop an application as uvicorn does; return what it sends."""
    said: list[Message] = []
    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Message:
        return {"type": next(messages)}

    async def send(message: Message) -> None:
        said.append(message)

    scope: dict[str, Any] = {"type": "lifespan", "state": {}}
    await run_lifespan(app, scope, receive, send)
    return said


def app_that_raises(*, start: Exception | None = None, stop: Exception | None = None) -> Starlette:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if start is not None:
            raise start
        yield
        if stop is not None:
            raise stop

    return Starlette(lifespan=lifespan)


async def test_a_start_that_goes_well_is_told_as_it_is() -> None:
    assert [each["type"] for each in await sent_by(app_that_raises())] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


@pytest.mark.parametrize(
    "error",
    [
        RegistryError("ledger.jsonl: damaged"),
        BundleRefused("popular.npy: damaged"),
        PermissionError(13, "Permission denied", "CURRENT"),
    ],
)
async def test_what_a_person_can_mend_is_one_line(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert await sent_by(app_that_raises(start=error)) == [
        {"type": "lifespan.startup.failed", "message": ""}
    ]
    (record,) = caplog.records
    assert record.getMessage() == f"this worker cannot start: {error}"
    assert record.exc_info is None


async def test_a_defect_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        said.append(message)

    scope: dict[str, Any] = {"type": "lifespan", "state": {}}
    with pytest.raises(ZeroDivisionError):
        await run_lifespan(app_that_raises(start=ZeroDivisionError()), scope, receive, send)

    (message,) = said
    assert message["type"] == "lifespan.startup.failed"
    assert "Traceback" in message["message"]
    assert caplog.records == []


async def test_what_fails_at_the_end_is_not_taken_for_a_start() -> None:
    with pytest.raises(OpalError, match="at the end"):
        await sent_by(app_that_raises(stop=OpalError("at the end")))
