"""Qdrant's routes for points. HTTP only."""

from time import perf_counter

from fastapi import APIRouter, Request
from qdrant_client.http import models
from starlette.responses import Response

from vector_db.core.wire import Body, answer
from vector_db.features.points.service import PointService

_UPSERT = Body[models.PointInsertOperations](models.PointInsertOperations)
_DELETE = Body[models.PointsSelector](models.PointsSelector)
_QUERY = Body[models.QueryRequest](models.QueryRequest)
_QUERY_BATCH = Body[models.QueryRequestBatch](models.QueryRequestBatch)
_SCROLL = Body[models.ScrollRequest](models.ScrollRequest)
_COUNT = Body[models.CountRequest](models.CountRequest)
_RETRIEVE = Body[models.PointRequest](models.PointRequest)


def points_router(service: PointService) -> APIRouter:
    """/collections/{name}/points and what is below it, as Qdrant has them."""
    router = APIRouter(prefix="/collections/{name}/points", tags=["points"])

    @router.put("", summary="Insert or replace points", openapi_extra=_UPSERT.openapi)
    async def upsert(name: str, request: Request) -> Response:
        started = perf_counter()
        return answer(await service.upsert(name, await _UPSERT.read(request)), started)

    @router.post("/delete", summary="Delete points by ids or by filter", openapi_extra=_DELETE.openapi)
    async def delete(name: str, request: Request) -> Response:
        started = perf_counter()
        return answer(await service.delete(name, await _DELETE.read(request)), started)

    @router.post("/query", summary="Search", openapi_extra=_QUERY.openapi)
    async def query(name: str, request: Request) -> Response:
        started = perf_counter()
        [points] = await service.query(name, [await _QUERY.read(request)])
        return answer({"points": points}, started)

    @router.post("/query/batch", summary="Several searches at once", openapi_extra=_QUERY_BATCH.openapi)
    async def query_batch(name: str, request: Request) -> Response:
        started = perf_counter()
        found = await service.query(name, (await _QUERY_BATCH.read(request)).searches)
        return answer([{"points": points} for points in found], started)

    @router.post("/scroll", summary="List points, page by page", openapi_extra=_SCROLL.openapi)
    async def scroll(name: str, request: Request) -> Response:
        started = perf_counter()
        return answer(await service.scroll(name, await _SCROLL.read(request)), started)

    @router.post("/count", summary="Count points", openapi_extra=_COUNT.openapi)
    async def count(name: str, request: Request) -> Response:
        started = perf_counter()
        return answer({"count": await service.count(name, await _COUNT.read(request))}, started)

    @router.post("", summary="Get points by ids", openapi_extra=_RETRIEVE.openapi)
    async def retrieve(name: str, request: Request) -> Response:
        started = perf_counter()
        return answer(await service.retrieve(name, await _RETRIEVE.read(request)), started)

    @router.get("/{point_id}", summary="Get one point")
    async def get(name: str, point_id: str) -> Response:
        started = perf_counter()
        return answer(await service.get(name, point_id), started)

    return router
