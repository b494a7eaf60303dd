"""HTTP as uvicorn speaks it, but for match requests, callers that hang up, and too many of them.

uvicorn makes a task of every request, and several messages between it and the application: for an
ordinary match request that is most of what is done around its computation. It is answered here.

uvicorn lets the work go on for a caller that has hung up. And a worker that is asked for several
times what it can do is busy refusing: that has to cost next to nothing, or there is no time left
for those who are served.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from service.api.problems import Overloaded, problem_response
from service.web.dependencies import State
from service.web.direct_match import DirectCall
from service.web.middleware import HUNG_UP, log_access, request_id_of

_MATCHING = frozenset({"/match", "/match/batch", "/interests"})
_ITEMS = "/items/"

_DEAF_SECONDS = 0.1
"""How long a connection is not read that was refused twice within that time.

Retry-After says a second. Between a proxy and a worker it may be others' requests that wait for it.
"""


class _Awaited(NamedTuple):
    """A match request whose body is not all there yet, and when its head was."""

    cycle: RequestResponseCycle
    app: ASGI3Application
    started: float


class ServiceProtocol(HttpToolsProtocol):
    """One connection of a caller."""

    _task: asyncio.Task[None] | None = None
    _served: RequestResponseCycle
    """What the task works for; ``cycle`` may be a later request that waits for its turn."""
    _call: DirectCall | None = None
    """What is answered without a task."""
    _awaited: _Awaited | None = None
    """What will be, once its body is there."""
    _refused_at = -_DEAF_SECONDS

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is done for a caller that is gone."""
        super().connection_lost(exc)
        if self._call is not None:
            self._call.hang_up()
            self._call = None
        elif self._awaited is not None:
            cycle, app, _ = self._awaited
            self._awaited = None
            # The application finds that the caller is gone, counts it and logs it as any other.
            super()._start_asgi_task(cycle, app)
        elif self._task is not None and not self._task.done():
            # uvicorn tells its last request only, which may be one that waits behind this one.
            self._served.disconnected = True
            self._served.scope["state"][HUNG_UP] = True
            self._task.cancel()

    def on_message_complete(self) -> None:
        """See uvicorn; what was refused before it had come is over only now."""
        super().on_message_complete()
        if self._awaited is not None:
            cycle, app, started = self._awaited
            self._awaited = None
            self._answer(cycle, app, started)
        elif self.cycle.response_complete and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """See uvicorn; what waits already is answered before more of it is read."""
        super().on_response_complete()
        if self.pipeline and not self.transport.is_closing():
            self.flow.pause_reading()

    def abandon(self) -> None:
        """Tell a caller that its answer will not come: the time to stop in is over."""
        if self._call is not None:
            self._call.abandon()
        elif self._awaited is not None:
            cycle, _, started = self._awaited
            self._awaited = None
            state: State = self.app_state  # type: ignore[assignment] # what the lifespan made
            call = state["direct_match"].call(
                cycle.scope,  # type: ignore[arg-type] # uvicorn's name for the same
                started,
                partial(self._respond, cycle),
            )
            call.abandon()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if self.transport.is_closing():
            # The caller was told so, and asks again elsewhere: nothing may be done for it here.
            cycle.response_started = cycle.response_complete = True
            return
        scope: Any = cycle.scope
        route = _computing_route(scope["method"], scope["path"])
        if route is None:
            self._task = None
            super()._start_asgi_task(cycle, app)
            return
        state: State = self.app_state  # type: ignore[assignment] # what the lifespan made
        if state["retriever"].queue.is_swamped:
            self._refuse(cycle, route, state)
        elif (
            cycle.waiting_for_100_continue
            or self.flow.write_paused  # it does not read: the application waits until it does
            or not state["direct_match"].takes(scope)
        ):
            self._start_task(cycle, app)
        elif cycle.more_body:
            self._awaited = _Awaited(cycle, app, time.monotonic())
        else:
            self._answer(cycle, app, time.monotonic())

    def _start_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._served = cycle
        self._task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(self._task)
        self._task.add_done_callback(self.tasks.discard)

    def _answer(self, cycle: RequestResponseCycle, app: ASGI3Application, started: float) -> None:
        """Answer a match request that is there as a whole."""
        state: State = self.app_state  # type: ignore[assignment] # as above
        self._task = None
        call = state["direct_match"].begin(
            cycle.scope,  # type: ignore[arg-type] # uvicorn's name for the same
            cycle.body,
            started,
            partial(self._respond, cycle),
        )
        if call is None:
            self._start_task(cycle, app)
        elif not cycle.response_complete:
            self._call = call

    def _respond(
        self,
        cycle: RequestResponseCycle,
        status: int,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
    ) -> None:
        """Send an answer as uvicorn does."""
        self._call = None
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        self._send(cycle, status, b"".join(lines), body)

    def _refuse(self, cycle: RequestResponseCycle, route: str, state: State) -> None:
        """Refuse unread (``service.api.problems.Overloaded``); the rest of the body is dropped."""
        scope: Any = cycle.scope
        state["metrics"].note_refusal(scope["method"], route)
        request_id = request_id_of(scope)
        level = logging.INFO if state["settings"].access_log else logging.DEBUG
        log_access(scope, route, 503, 0.0, request_id=request_id, level=level)
        if self.flow.write_paused:
            # It sends and does not read: what it is told would only fill our memory.
            cycle.response_started = cycle.response_complete = True
            self.transport.close()
            return
        headers = _REFUSAL_HEADERS + b"x-request-id: " + request_id.encode() + b"\r\n"
        self._send(cycle, 503, headers, _REFUSAL_BODY)
        self._pause_if_insistent()

    def _send(self, cycle: RequestResponseCycle, status: int, headers: bytes, body: bytes) -> None:
        """Send what answers a request, and go on with the next.

        Args:
            cycle: The request.
            status: Of the answer.
            headers: Lines, each with its end; without those that all answers have.
            body: All of it.
        """
        cycle.response_started = cycle.response_complete = True
        head = [STATUS_LINE[status]]
        says_close = False
        for name, value in self.server_state.default_headers:
            says_close |= name == b"connection"  # the worker stops
            head += [name, b": ", value, b"\r\n"]
        head.append(headers)
        if not cycle.keep_alive and not says_close:
            head.append(b"connection: close\r\n")
        self.transport.write(b"".join((*head, b"\r\n", body)))
        if says_close or not cycle.keep_alive:
            self.transport.close()
        if self.pipeline:
            # Not from here: there may be thousands, each of which would be a call in a call.
            self.loop.call_soon(self.on_response_complete)
            return
        self.on_response_complete()

    def _pause_if_insistent(self) -> None:
        if self.pipeline:
            return
        now = self.loop.time()
        if now - self._refused_at < _DEAF_SECONDS:
            # Callers who ask again at once would take the time of those who are served: a few
            # hundred of them can keep an event loop busy.
            self.flow.pause_reading()
            self.loop.call_later(_DEAF_SECONDS, self._listen_again)
        self._refused_at = now

    def _listen_again(self) -> None:
        if not self.transport.is_closing() and not self.pipeline:
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


_REFUSAL = problem_response(
    Overloaded(
        "far more is asked than this worker can do; try again in a second, elsewhere if you can"
    )
)
_REFUSAL_HEADERS = b"".join(name + b": " + value + b"\r\n" for name, value in _REFUSAL.raw_headers)
_REFUSAL_BODY = bytes(_REFUSAL.body)
