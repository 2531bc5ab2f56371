"""Puts the LLM gateway together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from llm_service.core.envelope import openai_envelope
from llm_service.core.settings import LlmSettings
from llm_service.features.chat.metrics import ChatMetrics
from llm_service.features.chat.router import chat_router
from llm_service.features.chat.service import ChatService
from llm_service.providers.base import Provider
from llm_service.providers.openai_compatible import provider_from
from service_kit.app import create_service
from service_kit.browsers import AllowedHosts
from service_kit.metrics import HttpMetrics


def create_app(settings: LlmSettings | None = None, *, provider: Provider | None = None) -> FastAPI:
    """The gateway. provider: the server behind it; None: the one that the settings name, or none at all."""
    settings = settings or LlmSettings()
    http_metrics = HttpMetrics("llm_service")
    metrics = ChatMetrics(http_metrics.registry)
    backend = provider or provider_from(settings, metrics.retries)
    service = ChatService(backend, settings, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        if backend is not None:
            await backend.close()

    app = create_service(
        "llm_service",
        readiness=service.checks,
        metrics=http_metrics,
        max_body_bytes=settings.llm_max_body_bytes,
        allowed_hosts=AllowedHosts.of(settings.llm_host, settings.allowed_hosts),
        lifespan=lifespan,
        envelope=openai_envelope,
        description="OpenAI's chat routes, forwarded to a configured server.",
    )
    router = chat_router(service, is_configured=backend is not None, stall_s=settings.llm_idle_timeout_s)
    app.include_router(router)
    return app
