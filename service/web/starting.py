"""A worker's start, which may fail for reasons that a person can mend: one line says so.

Starlette sends the whole traceback of whatever its lifespan raises, and uvicorn logs it as it is.
Of a damaged file it buries the one line that counts, again at every retry.
"""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model.errors import OpalError
from service.api.problems import ProblemError

_FAILED = "lifespan.startup.failed"

_logger = logging.getLogger(__name__)


async def run_lifespan(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run the lifespan of an application; where its start fails, log one line if that is enough.

    A defect of ours keeps its traceback.

    Args:
        app: The application.
        scope: Of the connection; its type is "lifespan".
        receive: Gives uvicorn's messages.
        send: Takes ours.
    """
    failed: Message | None = None

    async def send_later(message: Message) -> None:
        nonlocal failed
        if message["type"] == _FAILED:
            failed = message  # it has the traceback, but not what was raised
        else:
            await send(message)

    try:
        await app(scope, receive, send_later)
    except (OpalError, ProblemError, OSError) as error:
        if failed is None:
            raise
        _logger.error("this worker cannot start: %s", error)  # noqa: TRY400 - that is all
        await send({"type": _FAILED, "message": ""})
    except BaseException:
        if failed is not None:
            await send(failed)
        raise
