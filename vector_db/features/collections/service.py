"""What may happen to collections, aliases and payload indexes. Knows no HTTP."""

from typing import Any

from qdrant_client.http import models

from service_kit.errors import ValidationFailed
from vector_db.core.errors import NotSupported
from vector_db.engine.collection import Collection
from vector_db.engine.database import Database, outcome
from vector_db.engine.indexes import index_params

# What Qdrant reports of a collection made with defaults. Edge has no such switches, or they change no result.
_HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
_OPTIMIZER = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 1,
    "flush_interval_sec": 0,
}
_WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0}


class CollectionService:
    """Collections by name; wherever one is read, an alias serves as well."""

    def __init__(self, database: Database):
        """database: opened by the app."""
        self._database = database
        self._store = database.store

    async def create(self, name: str, request: models.CreateCollection) -> bool:
        """A new, empty collection; fails with Conflict, NotSupported or ValidationFailed."""
        await self._database.grow(lambda: self._store.create(name, request))
        return True

    async def delete(self, name: str) -> bool:
        """Delete it with its aliases; False where there is none of this name."""
        return await self._database.write(lambda: self._store.delete(name))

    def names(self) -> list[str]:
        """All collections, sorted."""
        return self._store.names

    def exists(self, name: str) -> bool:
        """Whether a collection or an alias has this name."""
        return self._store.exists(name)

    async def info(self, name: str) -> dict[str, Any]:
        """The collection in the shape of models.CollectionInfo; fails with NotFound."""
        collection = self._database.collection(name)
        return await self._database.read(lambda: _info(collection))

    async def change_aliases(self, operation: models.ChangeAliasesOperation) -> bool:
        """Apply all actions or none; fails with NotFound or Conflict."""
        await self._database.write(lambda: self._store.change_aliases(operation))
        return True

    def aliases(self, name: str | None = None) -> list[dict[str, str]]:
        """All aliases, or those of one collection; fails with NotFound where it does not exist."""
        target = None if name is None else self._database.collection(name).name
        pairs = sorted(self._store.aliases.items())
        return [{"alias_name": a, "collection_name": c} for a, c in pairs if target in {None, c}]

    async def create_index(self, name: str, request: models.CreateFieldIndex) -> dict[str, Any]:
        """Index a payload field; fails with NotFound or NotSupported."""
        if request.field_schema is None:
            raise NotSupported("an index without `field_schema`")
        if not request.field_name:
            raise ValidationFailed("field_name: it is empty; name a payload field")
        collection = self._database.collection(name)
        action = collection.create_index(request.field_name, index_params(request.field_schema))
        return outcome(await self._database.grow(action, collection))

    async def delete_index(self, name: str, field: str) -> dict[str, Any]:
        """Drop a payload field's index; fails with NotFound where there is no such collection."""
        collection = self._database.collection(name)
        return outcome(await self._database.write(collection.delete_index(field), collection))


def _info(collection: Collection) -> dict[str, Any]:
    figures = collection.figures()
    return {
        "status": "green",
        "optimizer_status": "ok",
        "indexed_vectors_count": figures.indexed_vectors,
        "points_count": figures.points,
        "segments_count": figures.segments,
        "config": _config(collection.request),
        "payload_schema": {
            field: {
                "data_type": params.type.value,
                "params": params.model_dump(mode="json", exclude_none=True),
                "points": figures.indexed_points.get(field, 0),
            }
            for field, params in collection.indexes.items()
        },
    }


def _config(request: models.CreateCollection) -> dict[str, Any]:
    asked = request.model_dump(mode="json", exclude_none=True)
    params = {"shard_number": 1, "replication_factor": 1, "write_consistency_factor": 1, "on_disk_payload": True}
    params |= {name: asked[name] for name in ("vectors", "sparse_vectors", "on_disk_payload") if name in asked}
    return {
        "params": params,
        "hnsw_config": _HNSW | asked.get("hnsw_config", {}),
        "optimizer_config": _OPTIMIZER | asked.get("optimizers_config", {}),
        "wal_config": _WAL | asked.get("wal_config", {}),
        "metadata": asked.get("metadata"),
    }
