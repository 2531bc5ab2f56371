"""/healthz (the process is alive), /readyz (it can serve, and what is missing) and /metrics."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from service_kit.metrics import HttpMetrics


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a service needs. `detail` says what is there, or what is missing and what would mend it."""

    name: str
    ok: bool
    detail: str
    required: bool = True


Readiness = Callable[[], Awaitable[Sequence[Check]]]


def health_router(readiness: Readiness, metrics: HttpMetrics) -> APIRouter:
    """The three operational routes. /readyz is 200 where every required check holds, else 503 with Retry-After."""
    router = APIRouter(tags=["operations"])

    @router.get("/healthz", summary="Is the process alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz", summary="Can it serve, and what is missing?")
    async def readyz() -> Response:
        checks = await readiness()
        is_ready = all(check.ok for check in checks if check.required)
        body = {"status": "ready" if is_ready else "not_ready", "checks": [asdict(check) for check in checks]}
        headers = {} if is_ready else {"retry-after": "1"}
        return Response(orjson.dumps(body), 200 if is_ready else 503, headers, "application/json")

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def expose() -> Response:
        body, content_type = metrics.expose()
        return Response(body, media_type=content_type)

    return router
