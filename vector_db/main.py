"""The app: Qdrant's routes over one folder of collections."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from qdrant_client.http import models
from starlette.responses import PlainTextResponse, Response

from service_kit.app import create_service
from service_kit.browsers import AllowedHosts
from service_kit.health import Check
from service_kit.keys import Guarded
from service_kit.metrics import HttpMetrics
from service_kit.scrape import DiskGauges
from vector_db.core.settings import VectorDbSettings
from vector_db.core.wire import envelope
from vector_db.engine.database import Database
from vector_db.engine.metrics import StoreMetrics
from vector_db.features.collections.router import collections_router
from vector_db.features.collections.service import CollectionService
from vector_db.features.points.router import points_router
from vector_db.features.points.service import PointService

# What GET / tells: clients compare it with their own. It is the version whose REST API is kept to.
API_VERSION = "1.20.0"
TITLE = "qdrant - vector search engine"


def create_app(settings: VectorDbSettings | None = None, *, database: Database | None = None) -> FastAPI:
    """The service. Its folder is opened when it starts, unless `database` is open already, and closed when it ends."""
    settings = settings or VectorDbSettings()
    database = database or Database(settings.vector_db_dir)
    metrics = HttpMetrics("vector_db")
    stored = StoreMetrics(database, metrics.registry)
    metrics.questions.add(stored.ask)
    metrics.questions.add(DiskGauges(metrics.registry, settings.vector_db_dir, "vectors").ask)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not database.store.is_open:
            database.open()
        try:
            yield
        finally:
            database.close()

    async def readiness() -> Sequence[Check]:
        detail = f"{len(database.store.names)} collections in {settings.vector_db_dir}"
        return [Check("store", database.store.is_open, detail if database.store.is_open else "the folder is not open")]

    app = create_service(
        "vector_db",
        readiness=readiness,
        metrics=metrics,
        max_body_bytes=settings.vector_db_max_body_bytes,
        allowed_hosts=AllowedHosts.of(settings.qdrant_host, settings.allowed_hosts),
        guarded=_guarded(settings),
        lifespan=lifespan,
        envelope=envelope,
        description="The part of Qdrant's REST API that Code Assistant uses, over Qdrant Edge.",
    )

    @app.get("/", tags=["operations"], summary="Version, as Qdrant tells it")
    async def root() -> models.VersionInfo:
        return models.VersionInfo(title=TITLE, version=API_VERSION, commit=None)

    @app.get("/livez", tags=["operations"], summary="Is the process alive?")
    async def livez() -> Response:
        return PlainTextResponse("alive")

    # Points first: routes are tried in turn, and each that does not match costs a query some 10 us.
    app.include_router(points_router(PointService(database, stored)))
    app.include_router(collections_router(CollectionService(database)))
    return app


def _guarded(settings: VectorDbSettings) -> Guarded | None:
    """The key, asked for where Qdrant asks (src/actix/mod.rs, 1.16: /metrics too), and refused in its words."""
    if settings.qdrant_api_key is None:
        return None
    return Guarded(
        settings.qdrant_api_key,
        "QDRANT_API_KEY",
        frozenset({"/", "/healthz", "/livez", "/readyz"}),
        missing="Must provide an API key or an Authorization bearer token",
        wrong="Invalid API key or JWT",
        header=b"api-key",
    )
