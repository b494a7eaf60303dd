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
from service.middleware import HUNG_UP, log_access, request_id_of
from service.problems import Overloaded, problem_response

_MATCHING = frozenset({"/match", "/match/batch", "/interests"})
_ITEMS = "/items/"

_DEAF_SECONDS = 0.1
"""How long a connection is not read that was refused twice within that time.

Retry-After says a second. Between a proxy and a worker it may be others' requests that wait for it.
"""


class ServiceProtocol(HttpToolsProtocol):
    """One connection of a caller."""

    _task: asyncio.Task[None] | None = None
    _served: RequestResponseCycle
    """What the task works for; ``cycle`` may be a later request that waits for its turn."""
    _refused_at = -_DEAF_SECONDS

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is done for a caller that is gone."""
        super().connection_lost(exc)
        if self._task is not None and not self._task.done():
            # uvicorn tells its last request only, which may be one that waits behind this one.
            self._served.disconnected = True
            self._served.scope["state"][HUNG_UP] = True
            self._task.cancel()

    def on_message_complete(self) -> None:
        """See uvicorn; what was refused before it had come is over only now."""
        super().on_message_complete()
        if self.cycle.response_complete and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        route = _computing_route(cycle.scope["method"], cycle.scope["path"])
        if route is None:
            self._task = None
            super()._start_asgi_task(cycle, app)
            return
        state: State = self.app_state  # type: ignore[assignment] # what the lifespan made
        if state["retriever"].queue.is_swamped:
            self._refuse(cycle, route, state)
            return
        self._served = cycle
        self._task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(self._task)
        self._task.add_done_callback(self.tasks.discard)

    def _refuse(self, cycle: RequestResponseCycle, route: str, state: State) -> None:
        """Answer ``problems.Overloaded`` without a task; what follows of the body is dropped."""
        scope: Any = cycle.scope
        cycle.response_started = cycle.response_complete = True
        state["metrics"].note_refusal(scope["method"], route)
        if state["settings"].access_log:
            log_access(scope, route, 503, 0.0)
        if self.flow.write_paused:
            # It sends and does not read: what it is told would only fill our memory.
            self.transport.close()
            return
        head = [STATUS_LINE[503]]
        for name, value in self.server_state.default_headers:
            head += [name, b": ", value, b"\r\n"]
        head += [b"x-request-id: ", request_id_of(scope).encode(), b"\r\n"]
        if not cycle.keep_alive:
            head.append(b"connection: close\r\n")
        self.transport.write(b"".join((*head, _REFUSAL)))
        if not cycle.keep_alive:
            self.transport.close()
        if self.pipeline:
            # Not from here: there may be thousands, each of which would be a call in a call.
            self.loop.call_soon(self.on_response_complete)
            return
        self.on_response_complete()
        now = self.loop.time()
        if now - self._refused_at < _DEAF_SECONDS:
            # Callers who ask again at once would take the time of those who are served: a few
            # hundred of them can keep an event loop busy.
            self.flow.pause_reading()
            self.loop.call_later(_DEAF_SECONDS, self._listen_again)
        self._refused_at = now

    def _listen_again(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()


def _computing_route(method: str, path: str) -> str | None:
    """Return the route of a call that computes and changes nothing; None for others.

    Such a call may be refused, and may end early.
    """
    if method == "POST" and path in _MATCHING:
        return path
    if method == "GET" and path.startswith(_ITEMS):
        return "/items/{item_id}/similar"
    return None


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
