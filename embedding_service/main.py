"""The embedding service as an app: texts in, unit vectors out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from embedding_service.core.settings import EmbeddingSettings
from embedding_service.engine.process import WorkerProcess
from embedding_service.features.embedding.envelopes import tei_envelope
from embedding_service.features.embedding.host import MakeEngine
from embedding_service.features.embedding.metrics import TeiMetrics
from embedding_service.features.embedding.router import health_router, openai_router, tei_router
from embedding_service.features.embedding.router_tasks import tasks_router
from embedding_service.features.embedding.service import EmbeddingService
from embedding_service.features.embedding.wire import require_key
from service_kit.app import create_service
from service_kit.browsers import AllowedHosts
from service_kit.health import Check
from service_kit.metrics import HttpMetrics


def create_app(settings: EmbeddingSettings | None = None, *, make_engine: MakeEngine | None = None) -> FastAPI:
    """The app. settings: read from the environment where None. make_engine: a worker process where None."""
    chosen = settings or EmbeddingSettings()
    metrics = HttpMetrics("embedding_service")
    make = make_engine or _workers(chosen, metrics.registry)
    service = EmbeddingService(chosen, make, TeiMetrics(metrics.registry), metrics.registry)

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
    app.include_router(health_router(service))
    key = chosen.embedding_api_key
    guarded = [] if key is None else [Depends(require_key(key))]
    for router in (tasks_router(service, chosen.task), tei_router(service), openai_router(service)):
        app.include_router(router, dependencies=guarded)
    return app


def _workers(settings: EmbeddingSettings, registry: CollectorRegistry) -> MakeEngine:
    """Worker processes; the present one's processor time and memory are told as embedding_worker_process_*."""
    latest: list[WorkerProcess] = []

    def make() -> WorkerProcess:
        latest[:] = [WorkerProcess(settings)]
        return latest[0]

    # There is no process 0: while none runs nothing is told.
    ProcessCollector(namespace="embedding_worker", pid=lambda: latest[0].pid if latest else 0, registry=registry)
    return make
