"""Puts the LLM gateway together."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from fastapi import FastAPI

from llm_service.admission.door import BytesBudget, Door
from llm_service.admission.gate import Gate
from llm_service.core.backends import backends_of
from llm_service.core.envelope import openai_envelope
from llm_service.core.settings import LlmSettings
from llm_service.core.watched import Watched
from llm_service.features.chat.metrics import GatewayMetrics, LiveState
from llm_service.features.chat.router import forwarded_routes
from llm_service.features.chat.schemas import Limits
from llm_service.features.chat.service import ChatService
from llm_service.features.models.router import models_router
from llm_service.features.models.service import ModelsService
from llm_service.providers.make import provider_maker
from llm_service.providers.openai_compatible import Connections
from llm_service.providers.pool import Pool
from service_kit.app import create_service
from service_kit.browsers import AllowedHosts
from service_kit.health import Check
from service_kit.metrics import HttpMetrics


def create_app(settings: LlmSettings | None = None) -> FastAPI:
    """The gateway. Fails with ValueError, in words, where a file that the settings name is bad."""
    settings = settings or LlmSettings()
    http_metrics = HttpMetrics("llm_service")
    metrics = GatewayMetrics(http_metrics.registry)
    connections = Connections(settings.llm_connect_timeout_s)
    watched = Watched("the configuration of backends", lambda read: backends_of(settings, read))
    pool = Pool(
        lambda: watched.value,
        provider_maker(settings, connections),
        chosen=settings.chosen_model,
        max_retries=settings.llm_max_retries,
        on_retry=metrics.count_retry,
    )
    gate = Gate.of(settings.llm_keys_file)
    door = Door(settings.llm_max_concurrent_requests, settings.llm_max_queued_requests, settings.llm_queue_timeout_s)
    http_metrics.registry.register(LiveState(lambda: pool.members, door))
    models = ModelsService(pool)
    files: list[Watched[Any]] = [watched] if gate.keys is None else [watched, gate.keys]

    async def readiness() -> Sequence[Check]:
        return await models.checks([file.problem for file in files if file.problem is not None])

    async def known() -> Sequence[Check]:
        return await models.known([file.problem for file in files if file.problem is not None])

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(connections.close)
            for file in files:
                await stack.enter_async_context(file.watching())
            stack.enter_context(_reloading_on_hangup(files))
            yield

    service = ChatService(pool, door, settings, metrics)
    bodies = BytesBudget(settings.llm_max_bodies_bytes)
    app = create_service(
        "llm_service",
        readiness=readiness,
        watched=known,
        metrics=http_metrics,
        max_body_bytes=settings.llm_max_body_bytes,
        allowed_hosts=AllowedHosts.of(settings.llm_host, settings.allowed_hosts),
        lifespan=lifespan,
        envelope=openai_envelope,
        description="OpenAI's routes, forwarded to the configured backends.",
        direct=forwarded_routes(service, gate, bodies, Limits.of(settings), settings.llm_body_timeout_s),
    )
    app.include_router(models_router(models, gate))
    return app


@contextmanager
def _reloading_on_hangup(files: Sequence[Watched[Any]]) -> Iterator[None]:
    """SIGHUP reads the files at once; they are also looked at every two seconds."""

    def reload() -> None:
        for file in files:
            file.reload()

    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, reload)
    except (ValueError, RuntimeError):  # not the main thread, as in a test: signals are for somebody else
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
