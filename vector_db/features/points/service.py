"""What may happen to points. Knows no HTTP."""

from collections.abc import Sequence
from typing import Any

from qdrant_client.http import models

from service_kit.errors import NotFound
from vector_db.core.errors import NotSupported
from vector_db.engine.database import Database, outcome
from vector_db.engine.metrics import StoreMetrics
from vector_db.engine.shapes import refuse_set


class PointService:
    """Points of a collection, which is named by itself or by an alias. All methods fail with NotFound for neither."""

    def __init__(self, database: Database, metrics: StoreMetrics):
        """database: opened by the app."""
        self._database = database
        self._metrics = metrics

    async def upsert(self, name: str, operation: models.PointInsertOperations) -> dict[str, Any]:
        """Insert or replace points, all or none; returns when they are on disk."""
        collection = self._database.collection(name)
        action = await self._database.read(lambda: collection.upsert(operation))
        return outcome(await self._database.grow(action, collection))

    async def delete(self, name: str, selector: models.PointsSelector) -> dict[str, Any]:
        """Delete points by ids or by filter; returns when that is on disk."""
        refuse_set(selector, ("shard_key",))
        collection = self._database.collection(name)
        action = collection.delete_points(selector)
        return outcome(await self._database.write(action, collection))

    async def query(self, name: str, requests: Sequence[models.QueryRequest]) -> list[list[dict[str, Any]]]:
        """Hits of each request, best first."""
        collection = self._database.collection(name)
        with self._metrics.search():
            return await self._database.read(lambda: collection.query(requests))

    async def scroll(self, name: str, request: models.ScrollRequest) -> dict[str, Any]:
        """A page of points in the order of their ids, and where the next page starts."""
        refuse_set(request, ("shard_key",))
        if request.order_by is not None:
            raise NotSupported("scroll with `order_by`")
        collection = self._database.collection(name)
        points, following = await self._database.read(lambda: collection.scroll(request))
        return {"points": points, "next_page_offset": following}

    async def count(self, name: str, request: models.CountRequest) -> int:
        """How many points match, exactly."""
        refuse_set(request, ("shard_key",))
        collection = self._database.collection(name)
        return await self._database.read(lambda: collection.count(request))

    async def retrieve(self, name: str, request: models.PointRequest) -> list[dict[str, Any]]:
        """The points with these ids; those that are not there are left out."""
        refuse_set(request, ("shard_key",))
        collection = self._database.collection(name)
        return await self._database.read(lambda: collection.retrieve(request))

    async def get(self, name: str, id_: str) -> dict[str, Any]:
        """One point, whole; fails with NotFound or, where `id_` is no point id, WrongInput."""
        key = int(id_) if id_.isdecimal() else id_
        found = await self.retrieve(name, models.PointRequest(ids=[key], with_payload=True, with_vector=True))
        if not found:
            raise NotFound(f"Not found: Point with id {id_} does not exists!")
        return found[0]
