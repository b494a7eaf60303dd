"""The composition root: the one place where concrete classes are chosen and put together."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp

from index.registry.registry import Registry
from index.takedowns.takedown_file import TakedownFile
from model.errors import OpalError
from service.answering.batching import MicroBatcher
from service.answering.flights import Flights
from service.answering.serving import Retriever, compute_together
from service.answering.work import WorkQueue
from service.api.openapi import DESCRIPTION, TAGS, DocumentedApp, program_version
from service.api.problems import BundleRefused, install_handlers
from service.api.schemas import Limits
from service.caching.cache import AnswerCache, NullCache, SharedCache, TieredCache
from service.caching.lives import Lives
from service.caching.memory_cache import MemoryCache
from service.caching.redis_cache import connect_redis
from service.live.live import LiveBundle
from service.monitoring.metrics import Metrics
from service.reloading import BundleFollower
from service.routes import admin, items, match, operations, takedowns
from service.routes.docs import add_docs
from service.settings import Settings, read_settings
from service.takedowns.redis_takedowns import connect_redis_takedowns
from service.takedowns.takedown_store import FileTakedowns, TakedownStore
from service.takedowns.takedowns import TakedownFollower
from service.web.dependencies import Drain, State
from service.web.direct_match import DirectMatch
from service.web.middleware import BodyLimitMiddleware, ObserveMiddleware

_MEBIBYTE = 1 << 20
# Batches of which the queue takes all that they hand to it at a time.
_BATCHES_IN_QUEUE = 4
_CANCEL_AGAIN = 0.1  # seconds


class ServiceApp(DocumentedApp):
    """A FastAPI with something around all that it puts around its routes.

    Args:
        around: Gets the application with its own middleware; returns what stands in its place.
        options: See ``FastAPI``.
    """

    def __init__(self, *, around: Callable[[ASGIApp], ASGIApp], **options: Any) -> None:
        super().__init__(**options)
        self._around = around

    def build_middleware_stack(self) -> ASGIApp:
        """See ``Starlette``. Its own layers do nothing for a match but take time."""
        return self._around(super().build_middleware_stack())


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application of one worker.

    Args:
        settings: Read from the environment where not given, as uvicorn's ``--factory`` does.
    """
    settings = settings or read_settings()
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        # FastAPI works out its routes when they are first used, which takes some 30 ms: not in a
        # request.
        app.openapi()
        async with AsyncExitStack() as closing:
            state = await _start(settings, metrics, closing)
            yield state

    def around(app: ASGIApp) -> ASGIApp:
        limited = BodyLimitMiddleware(app, max_bytes=settings.max_body_bytes)
        return ObserveMiddleware(limited, metrics=metrics, access_log=settings.access_log)

    app = ServiceApp(
        around=around,
        telemetry=_telemetry(),
        title="OPAL Match",
        summary="Multi-interest candidate retrieval",
        description=DESCRIPTION,
        version=program_version(),
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    install_handlers(app)
    for each in (match, items, operations, admin, takedowns):
        app.include_router(each.router)
    add_docs(app)
    return app


def _telemetry() -> TelemetryConfig:
    """Have FastAPI not look for OpenTelemetry in each request where nobody has set it up."""
    is_set_up = any(name.startswith(("OTEL_", "FASTAPI_OTEL_")) for name in os.environ)
    return {"tracing": is_set_up, "metrics": is_set_up, "logs": is_set_up}


async def _start(settings: Settings, metrics: Metrics, closing: AsyncExitStack) -> State:
    """Make what lives as long as the worker; ``closing`` ends it in reverse order."""
    live, drain = LiveBundle(), Drain()
    follower = BundleFollower(
        Registry(settings.registry),
        live,
        metrics,
        interval=settings.reload_interval,
        threads=settings.threads,
    )
    queue = WorkQueue(max_pending=settings.max_pending, metrics=metrics)
    retriever = Retriever(
        live=live,
        cache=choose_cache(settings, metrics),
        flights=Flights(),
        queue=queue,
        batcher=MicroBatcher(
            partial(compute_together, takedowns=live.takedowns, metrics=metrics),
            queue=queue,
            max_batch=settings.micro_batch,
            max_wait=settings.micro_batch_wait_ms / 1000,
            metrics=metrics,
        ),
        metrics=metrics,
        batch_turns=max(1, settings.max_pending // _BATCHES_IN_QUEUE),
    )
    closing.push_async_callback(retriever.close)
    metrics.workers_ready.set(0)
    withholding = TakedownFollower(
        choose_takedown_store(settings, metrics),
        live,
        metrics,
        interval=settings.takedown_interval,
    )
    closing.push_async_callback(withholding.close)
    # Before there is a bundle of which anything could be served.
    await withholding.start()
    try:
        await follower.look()
    except (BundleRefused, OpalError, OSError):
        if not settings.wait_for_bundle:
            raise
    for each in (follower, withholding):
        closing.push_async_callback(_cancel, asyncio.create_task(each.follow()))
    # `service.processes.supervisor` sends it to every worker before it stops them.
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, drain.begin)
    return State(
        settings=settings,
        limits=Limits.of(settings),
        metrics=metrics,
        live=live,
        follower=follower,
        takedowns=withholding,
        retriever=retriever,
        drain=drain,
        direct_match=DirectMatch(
            retriever,
            limits=Limits.of(settings),
            max_body_bytes=settings.max_body_bytes,
            metrics=metrics,
            access_log=settings.access_log,
        ),
    )


def choose_cache(settings: Settings, metrics: Metrics) -> AnswerCache:
    """Return the cache that the settings ask for."""
    if settings.cache_ttl == 0:
        return NullCache()
    lives = Lives(settings.cache_ttl)
    shared: SharedCache = NullCache()
    if settings.redis_url is not None:
        shared = connect_redis(settings, settings.redis_url.get_secret_value(), lives, metrics)
    memory = MemoryCache(max_bytes=settings.cache_memory_mb * _MEBIBYTE)
    return TieredCache(memory, shared, lives)


def choose_takedown_store(settings: Settings, metrics: Metrics) -> TakedownStore:
    """Return the store of takedowns that the settings ask for."""
    file = TakedownFile(settings.registry)
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        return connect_redis_takedowns(settings, url, file, metrics)
    return FileTakedowns(file, most=settings.max_takedowns)


async def _cancel(task: asyncio.Task[None]) -> None:
    """End a task that runs for ever."""
    while not task.done():
        # Again and again: redis-py may take a cancellation for the end of its own time limit.
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_AGAIN)
