"""How a service's FastAPI app is put together: the same doors, logs, metrics and failures for all."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service_kit.browsers import ANY_HOST, AllowedHosts, BrowserGuard
from service_kit.direct import DirectRoutes
from service_kit.docs import docs_router
from service_kit.errors import ServiceError
from service_kit.failures import Envelope, answerer, default_envelope, install_failure_handlers, render
from service_kit.health import Readiness, health_router
from service_kit.keys import Guarded, KeyGuard
from service_kit.metrics import HttpMetrics
from service_kit.middleware import BodyLimit, RequestObserver

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_service(
    name: str,
    *,
    readiness: Readiness,
    metrics: HttpMetrics,
    max_body_bytes: int,
    allowed_hosts: AllowedHosts = ANY_HOST,
    guarded: Guarded | None = None,
    lifespan: Lifespan | None = None,
    envelope: Envelope = default_envelope,
    description: str = "",
    watched: Readiness | None = None,
    direct: Sequence[APIRoute] = (),
) -> FastAPI:
    """An app with /healthz, /readyz, /metrics, /docs, request ids, a body limit and one envelope for every failure.

    readiness: what /readyz reports. metrics: a fresh HttpMetrics(name); the service's own metrics go to its registry.
    allowed_hosts: by which names it may be called; pages of other sites never may.
    guarded: the key that callers must show; None: none is asked for. watched: as health_router's.
    direct: routes that are ASGI apps, served past FastAPI (see DirectRoutes); they stand in its document all the same.
    """
    # FastAPI's own pages load their scripts from a CDN.
    app = FastAPI(title=name, description=description, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.envelope = envelope  # for what never reaches the app: protocol.py
    app.router.routes.extend(direct)

    def refuse(error: ServiceError) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            metrics.errors.labels(error.code).inc()
            await render(scope["path"], error, envelope)(scope, receive, send)

        return answer

    # The last one added is the outermost: a refused request still gets its id, its log line and its count.
    if direct:
        app.add_middleware(DirectRoutes, routes=direct, answer=answerer(metrics, envelope))
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes, refuse=refuse)
    if guarded is not None:
        app.add_middleware(KeyGuard, guarded=guarded, refuse=refuse)
        _document(app, guarded)
    app.add_middleware(BrowserGuard, allowed=allowed_hosts, refuse=refuse)
    app.add_middleware(RequestObserver, metrics=metrics, refuse=refuse)
    install_failure_handlers(app, metrics, envelope)
    app.include_router(health_router(readiness, metrics, watched))
    app.include_router(docs_router(name))
    return app


def _document(app: FastAPI, guarded: Guarded) -> None:
    """Say in the OpenAPI document which routes ask for the key, so that /docs offers to send it."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        document.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
        for path, operations in document["paths"].items():
            for operation in operations.values():
                if guarded.is_open(path):
                    operation["security"] = []
        return document

    app.openapi = openapi  # type: ignore[method-assign]
