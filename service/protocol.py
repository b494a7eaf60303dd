"""HTTP as uvicorn speaks it, but for callers that hang up and for too many of them.

uvicorn lets the work go on for a caller that has hung up, and makes a task of every request before
anything can refuse it. A worker that is asked for several times what it can do is busy refusing:
that has to cost next to nothing, or there is no time left for those who are served.
"""

import asyncio
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from service.dependencies import State
from service.middleware import HUNG_UP, request_id_of
from service.problems import Overloaded, problem_response

_PATHS = frozenset({"/match", "/match/batch", "/interests"})
"""Calls that compute and change nothing: they may be refused, and may end early."""

_DEAF_SECONDS = 0.1
"""How long a connection is not read after a refusal, whose Retry-After says a second."""


class ServiceProtocol(HttpToolsProtocol):
    """One connection of a caller."""

    _task: asyncio.Task[None] | None = None
    _served: RequestResponseCycle
    """What the task works for; ``cycle`` may be a later request that waits for its turn."""

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is done for a caller that is gone."""
        super().connection_lost(exc)
        if self._task is not None and not self._task.done():
            # uvicorn tells its last request only, which may be one that waits behind this one.
            self._served.disconnected = True
            self._served.scope["state"][HUNG_UP] = True
            self._task.cancel()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if cycle.scope["path"] not in _PATHS or cycle.scope["method"] != "POST":
            self._task = None
            super()._start_asgi_task(cycle, app)
            return
        state: State = self.app_state  # type: ignore[assignment] # what the lifespan made
        if state["retriever"].queue.is_swamped:
            self._refuse(cycle, state)
            return
        self._served = cycle
        self._task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(self._task)
        self._task.add_done_callback(self.tasks.discard)

    def _refuse(self, cycle: RequestResponseCycle, state: State) -> None:
        """Answer ``problems.Overloaded`` without a task; what follows of the body is dropped."""
        scope: Any = cycle.scope
        head = [STATUS_LINE[503]]
        for name, value in self.server_state.default_headers:
            head += [name, b": ", value, b"\r\n"]
        head += [b"x-request-id: ", request_id_of(scope).encode(), b"\r\n"]
        if not cycle.keep_alive:
            head.append(b"connection: close\r\n")
        cycle.response_started = cycle.response_complete = True
        self.transport.write(b"".join((*head, _REFUSAL)))
        state["metrics"].shed.labels("overload").inc()
        state["metrics"].note_request(scope["method"], scope["path"], 503, 0.0)
        if not cycle.keep_alive:
            self.transport.close()
        if self.pipeline:
            # Not from here: there may be thousands, each of which would be a call in a call.
            self.loop.call_soon(self.on_response_complete)
            return
        self.on_response_complete()
        # A caller that asks again at once, against what it was told, would take the time of those
        # who are served: a few hundred such callers can keep an event loop busy.
        self.flow.pause_reading()
        self.loop.call_later(_DEAF_SECONDS, self._listen_again)

    def _listen_again(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()


def _refusal() -> bytes:
    """Return the headers that never change, and the body."""
    response = problem_response(
        Overloaded(
            "far more is asked than this worker can do; try again in a second, elsewhere if you can"
        )
    )
    lines = [name + b": " + value + b"\r\n" for name, value in response.raw_headers]
    return b"".join((*lines, b"\r\n", bytes(response.body)))


_REFUSAL = _refusal()
