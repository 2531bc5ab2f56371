"""Where the RAG server is put together: the seams are arguments, everything else follows from the settings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from rag_app.clients.embedding import Embedder, create_embedder
from rag_app.clients.llm import LanguageModel, close_llm, create_llm
from rag_app.core.metrics import RagMetrics
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from rag_app.db.manifest import Manifest
from rag_app.features.generation.router import generation_router
from rag_app.features.generation.service import AnswerService
from rag_app.features.indexing.router import indexing_router
from rag_app.features.indexing.service import IndexingService
from rag_app.features.search.router import search_router
from rag_app.features.search.service import SearchService
from rag_app.features.source.router import source_router
from rag_app.features.source.service import SourceService
from rag_app.readiness import Readiness
from rag_app.web.router import web_router
from service_kit.app import create_service
from service_kit.browsers import AllowedHosts
from service_kit.metrics import HttpMetrics


def create_app(
    settings: RagSettings | None = None,
    *,
    embedder: Embedder | None = None,
    llm: LanguageModel | None = None,
    store: ChunkStore | None = None,
) -> FastAPI:
    """The RAG server. embedder, llm, store: others than the settings name. Nothing connects before it is started."""
    settings = settings or RagSettings()
    embedder = embedder or create_embedder(settings)
    llm = llm or create_llm(settings)
    store = store or ChunkStore(settings)
    manifest = Manifest(settings.data_dir / "manifest.sqlite")
    metrics = HttpMetrics("rag_app")
    indexing = IndexingService(manifest, store, embedder, settings, metrics)
    counted = RagMetrics(metrics.registry)
    search = SearchService(store, manifest, embedder, settings, counted)
    readiness = Readiness(store, embedder, llm)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(manifest.open)
        await indexing.start()
        try:
            yield
        finally:
            await indexing.stop()
            await asyncio.gather(embedder.close(), store.close(), close_llm(llm))
            manifest.close()

    app = create_service(
        "rag_app",
        readiness=readiness.checks,
        watched=readiness.watched,
        metrics=metrics,
        max_body_bytes=settings.rag_max_body_bytes,
        allowed_hosts=AllowedHosts.of(settings.rag_host, settings.allowed_hosts),
        lifespan=lifespan,
        description="Index repositories, search them, ask them, generate in their style.",
    )
    # Today's caller may see every repository; a key will narrow the scope, and nothing below has to change.
    scope = manifest.all_ids
    app.include_router(indexing_router(indexing, scope))
    app.include_router(search_router(search, scope, settings))
    app.include_router(generation_router(AnswerService(search, manifest, llm, settings, counted), scope, settings))
    app.include_router(source_router(SourceService(store, manifest), scope))
    app.include_router(web_router())
    return app
