"""The embedding service as an app: texts in, unit vectors out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from embedding_service.core.settings import EmbeddingSettings
from embedding_service.engine.process import WorkerProcess
from embedding_service.features.embedding.envelopes import tei_envelope
from embedding_service.features.embedding.host import MakeEngine
from embedding_service.features.embedding.metrics import TeiMetrics
from embedding_service.features.embedding.router import openai_router, tei_router
from embedding_service.features.embedding.service import EmbeddingService
from service_kit.app import create_service
from service_kit.browsers import AllowedHosts
from service_kit.health import Check
from service_kit.metrics import HttpMetrics


def create_app(settings: EmbeddingSettings | None = None, *, make_engine: MakeEngine | None = None) -> FastAPI:
    """The app. settings: read from the environment where None. make_engine: a worker process where None."""
    chosen = settings or EmbeddingSettings()
    metrics = HttpMetrics("embedding_service")
    tei_metrics = TeiMetrics(metrics.registry)
    service = EmbeddingService(chosen, make_engine or (lambda: WorkerProcess(chosen)), tei_metrics, metrics.registry)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    async def readiness() -> list[Check]:
        return [service.check()]

    app = create_service(
        "embedding_service",
        readiness=readiness,
        metrics=metrics,
        max_body_bytes=chosen.payload_limit,
        allowed_hosts=AllowedHosts.of(chosen.embedding_host, chosen.allowed_hosts),
        lifespan=lifespan,
        envelope=tei_envelope,
        description="Texts in, unit vectors out, by the routes of text-embeddings-inference and OpenAI.",
    )
    app.include_router(tei_router(service, tei_metrics))
    app.include_router(openai_router(service, tei_metrics))
    return app
