"""Where the RAG server is put together: the seams are arguments, everything else follows from the settings."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from rag_app.clients.embedding import Embedder, create_embedder
from rag_app.clients.llm import LanguageModel, close_llm, create_llm
from rag_app.clients.reranking import create_reranker
from rag_app.core.metrics import RagMetrics
from rag_app.core.settings import RagSettings
from rag_app.db.api_key import asked_key, key_path
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
from service_kit.keys import Guarded
from service_kit.metrics import HttpMetrics

_log = logging.getLogger("rag_app")

# What is open to all: how the process is, and what everybody may read in this program's own source: the page, which
# asks for the key itself, and the API's documentation, which a browser could not open with a key.
_OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"})
_OPEN_FOLDERS = ("/static/", "/docs/")


def create_app(
    settings: RagSettings | None = None,
    *,
    embedder: Embedder | None = None,
    llm: LanguageModel | None = None,
    store: ChunkStore | None = None,
) -> FastAPI:
    """The RAG server, or by RAG_ROLE one half of it: a replica that never indexes, or the indexer that all share.

    embedder, llm, store: others than the settings name. Nothing connects before it is started. Fails with ValueError,
    in words, where a key must be asked for and there can be none.
    """
    settings = settings or RagSettings()
    embedder = embedder or create_embedder(settings)
    llm = llm or create_llm(settings)
    store = store or ChunkStore(settings)
    manifest = Manifest(settings.data_dir / "manifest.sqlite")
    metrics = HttpMetrics("rag_app")
    indexing = IndexingService(manifest, store, embedder, settings, metrics)
    counted = RagMetrics(metrics.registry)
    reranker = create_reranker(settings)
    search = SearchService(store, manifest, embedder, settings, counted, reranker)
    readiness = Readiness(store, embedder, llm, settings.rag_role, indexing.has_indexer)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(manifest.open)
        await indexing.start()
        try:
            yield
        finally:
            await indexing.stop()
            await asyncio.gather(embedder.close(), store.close(), close_llm(llm))
            if reranker is not None:
                await reranker.close()
            manifest.close()

    app = create_service(
        "rag_app",
        readiness=readiness.checks,
        watched=readiness.watched,
        metrics=metrics,
        max_body_bytes=settings.rag_max_body_bytes,
        allowed_hosts=AllowedHosts.of(settings.rag_host, settings.allowed_hosts),
        guarded=guarded_by(settings),
        lifespan=lifespan,
        description="Index repositories, search them, ask them, generate in their style.",
    )
    if settings.rag_role == "indexer":
        return app  # its health, its metrics and no more: callers are the api processes' affair
    # Today's caller may see every repository; a key will narrow the scope, and nothing below has to change.
    scope = manifest.all_ids
    app.include_router(indexing_router(indexing, scope))
    app.include_router(search_router(search, scope, settings))
    app.include_router(generation_router(AnswerService(search, manifest, llm, settings, counted), scope, settings))
    app.include_router(source_router(SourceService(store, manifest), scope))
    app.include_router(web_router())
    return app


def guarded_by(settings: RagSettings) -> Guarded | None:
    """The key that callers must show, and where not; None: no key is asked for. Fails as asked_key does."""
    key = asked_key(settings)
    if key is None:
        return None
    if settings.rag_api_key is None:
        how = "`code-assistant key` prints it (in Compose: docker compose exec rag-server code-assistant key)"
        _log.info("callers must show the key in %s; %s", key_path(settings), how)
    return Guarded(
        key,
        "RAG_API_KEY",
        _OPEN_PATHS,
        missing="this server asks for a key; send it as Authorization: Bearer …, `code-assistant key` prints it there",
        wrong="this is not the key of this server; `code-assistant key` prints it where the server runs",
        open_folders=_OPEN_FOLDERS,
    )
