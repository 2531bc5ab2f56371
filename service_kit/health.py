"""/healthz (the process is alive), /readyz (it can serve, and what is missing) and /metrics."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass

import orjson
from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Gauge
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


class ReadinessGauges:
    """service_ready and service_check_ok{check}: what /readyz says, as metrics."""

    def __init__(self, registry: CollectorRegistry, readiness: Readiness):
        """readiness: asked before each scrape."""
        self._readiness = readiness
        self._ready = Gauge("service_ready", "1: every required check holds.", registry=registry)
        self._checks = Gauge("service_check_ok", "1: this check holds.", ["check"], registry=registry)

    async def ask(self) -> None:
        """Ask, and tell. A service that cannot tell is not ready."""
        try:
            checks = await self._readiness()
            self._ready.set(is_ready(checks))
        except BaseException:
            self._ready.set(0)
            raise
        self._checks.clear()  # a check may have gone, with a backend of the configuration
        for check in checks:
            self._checks.labels(check.name).set(check.ok)


def is_ready(checks: Sequence[Check]) -> bool:
    """Whether every required check holds."""
    return all(check.ok for check in checks if check.required)


def health_router(readiness: Readiness, metrics: HttpMetrics, watched: Readiness | None = None) -> APIRouter:
    """The three operational routes. /readyz is 200 where every required check holds, else 503 with Retry-After.

    watched: what scrapes ask in place of readiness, which may call what somebody charges for.
    """
    router = APIRouter(tags=["operations"])
    metrics.questions.add(ReadinessGauges(metrics.registry, watched or readiness).ask)

    @router.get("/healthz", summary="Is the process alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz", summary="Can it serve, and what is missing?")
    async def readyz() -> Response:
        checks = await readiness()
        is_well = is_ready(checks)
        body = {"status": "ready" if is_well else "not_ready", "checks": [asdict(check) for check in checks]}
        headers = {} if is_well else {"retry-after": "1"}
        return Response(orjson.dumps(body), 200 if is_well else 503, headers, "application/json")

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def expose() -> Response:
        await metrics.questions.answered()
        body, content_type = metrics.expose()
        return Response(body, media_type=content_type)

    return router
