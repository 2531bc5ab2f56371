"""Qdrant's routes for collections, aliases and payload indexes. HTTP only."""

from time import perf_counter

from fastapi import APIRouter, Request
from qdrant_client.http import models
from starlette.responses import Response

from vector_db.core.wire import Body, answer
from vector_db.features.collections.service import CollectionService

_CREATE = Body[models.CreateCollection](models.CreateCollection)
_ALIASES = Body[models.ChangeAliasesOperation](models.ChangeAliasesOperation)
_INDEX = Body[models.CreateFieldIndex](models.CreateFieldIndex)


def collections_router(service: CollectionService) -> APIRouter:
    """/collections, /aliases and /collections/{name}/index, as Qdrant has them."""
    router = APIRouter(tags=["collections"])

    @router.get("/collections", summary="List collections")
    async def list_collections() -> Response:
        return answer({"collections": [{"name": name} for name in service.names()]}, perf_counter())

    # Before /collections/{name}: "aliases" would be taken for a collection's name.
    @router.post("/collections/aliases", summary="Create, rename and delete aliases", openapi_extra=_ALIASES.openapi)
    async def change_aliases(request: Request) -> Response:
        started = perf_counter()
        return answer(await service.change_aliases(await _ALIASES.read(request)), started)

    @router.get("/aliases", summary="List all aliases")
    async def list_aliases() -> Response:
        return answer({"aliases": service.aliases()}, perf_counter())

    @router.put("/collections/{name}", summary="Create a collection", openapi_extra=_CREATE.openapi)
    async def create(name: str, request: Request) -> Response:
        started = perf_counter()
        return answer(await service.create(name, await _CREATE.read(request)), started)

    @router.get("/collections/{name}", summary="Describe a collection")
    async def info(name: str) -> Response:
        started = perf_counter()
        return answer(await service.info(name), started)

    @router.delete("/collections/{name}", summary="Delete a collection and its aliases")
    async def delete(name: str) -> Response:
        started = perf_counter()
        return answer(await service.delete(name), started)

    @router.get("/collections/{name}/exists", summary="Is there such a collection or alias?")
    async def exists(name: str) -> Response:
        return answer({"exists": service.exists(name)}, perf_counter())

    @router.get("/collections/{name}/aliases", summary="List a collection's aliases")
    async def collection_aliases(name: str) -> Response:
        return answer({"aliases": service.aliases(name)}, perf_counter())

    @router.put("/collections/{name}/index", summary="Index a payload field", openapi_extra=_INDEX.openapi)
    async def create_index(name: str, request: Request) -> Response:
        started = perf_counter()
        return answer(await service.create_index(name, await _INDEX.read(request)), started)

    @router.delete("/collections/{name}/index/{field}", summary="Drop a payload field's index")
    async def delete_index(name: str, field: str) -> Response:
        started = perf_counter()
        return answer(await service.delete_index(name, field), started)

    return router
