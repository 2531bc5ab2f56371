"""One collection: a folder with its description (collection.json) and its Edge shard."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import orjson
import qdrant_edge as edge
from qdrant_client.http import models

from service_kit.errors import NotFound
from vector_db.core.errors import WrongInput
from vector_db.engine import records
from vector_db.engine.edge_errors import edge_errors
from vector_db.engine.files import write_json
from vector_db.engine.filters import edge_filter
from vector_db.engine.indexes import edge_index, read_index
from vector_db.engine.points import PointId, edge_ids, edge_point_id, edge_points
from vector_db.engine.queries import QueryTranslator, with_payload, with_vector
from vector_db.engine.shapes import Shapes, edge_config

_DESCRIPTION = "collection.json"
_SHARD = "shard"
# How many points were deleted since the shard was made: Edge forgets it when it is loaded. Never synced: it is a hint.
_DELETED = "deleted"

# Below so many deleted points a vacuum is not worth a start that is slower; Edge's own limit is the same.
_WORTH_A_VACUUM = 1000


@dataclass(frozen=True, slots=True)
class Figures:
    """indexed_points: payload field with an index → points that have the field."""

    points: int
    segments: int
    indexed_vectors: int
    indexed_points: Mapping[str, int]


class Collection:
    """Reads may come from any thread; what changes it, and flush(), from the writer's thread only."""

    def __init__(self, folder: Path, name: str, request: models.CreateCollection, shard: edge.EdgeShard):
        """Use create() or load()."""
        self.folder = folder
        self.name = name
        self.request = request
        self.indexes: dict[str, models.PayloadSchemaParams] = {}
        self._shapes = Shapes.of(request)
        self._shard = shard
        self._operations = itertools.count()

    @classmethod
    def create(cls, folder: Path, name: str, request: models.CreateCollection) -> Self:
        """A new collection in `folder`, which must not exist yet; fails where the request cannot be met."""
        config = edge_config(request)
        folder.mkdir()
        (folder / _SHARD).mkdir()
        with edge_errors():
            shard = edge.EdgeShard.create(str(folder / _SHARD), config)
        collection = cls(folder, name, request, shard)
        collection.flush()
        collection._describe()
        return collection

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The collection that `folder` holds."""
        described = orjson.loads((folder / _DESCRIPTION).read_bytes())
        request = models.CreateCollection.model_validate(described["request"])
        with edge_errors():
            shard = edge.EdgeShard.load(str(folder / _SHARD), edge_config(request))
        collection = cls(folder, described["name"], request, shard)
        for field, params in described["indexes"].items():
            collection.indexes[field] = read_index(field, params)
        return collection

    def _describe(self) -> None:
        described = {
            "name": self.name,
            "request": self.request.model_dump(mode="json", exclude_none=True),
            "indexes": {f: params.model_dump(mode="json", exclude_none=True) for f, params in self.indexes.items()},
        }
        write_json(self.folder / _DESCRIPTION, described)

    def flush(self) -> None:
        """Make everything applied so far durable."""
        with edge_errors():
            self._shard.flush()

    def vacuum(self) -> None:
        """Give back the space of deleted points. Holds the GIL.

        On a copy only: a kill between its end and the flush leaves every point twice on disk (searches stay right).
        Scores stay as they are; hits of equal score may change places.
        """
        with edge_errors():
            self._shard.optimize()
            self._shard.flush()
        (self.folder / _DELETED).unlink(missing_ok=True)

    def close(self) -> None:
        """Release the shard; a read that comes later fails with NotFound."""
        with edge_errors():
            self._shard.close()

    # What changes it: each answers a function for the writer, checked as far as it can be before it is queued.

    def upsert(self, operation: models.PointInsertOperations) -> Callable[[], int]:
        """Insert or replace points. The function answers the number of the operation."""
        with edge_errors():
            return self._update(edge.UpdateOperation.upsert_points(edge_points(operation, self._shapes)))

    def delete_points(self, selector: models.PointsSelector) -> Callable[[], int]:
        """Delete points by ids or by filter; ids that are not there are no failure."""
        with edge_errors():
            if isinstance(selector, models.PointIdsList):
                return self._delete(edge.UpdateOperation.delete_points(edge_ids(selector.points)))
            narrowed = edge_filter(selector.filter)
            assert narrowed is not None
            return self._delete(edge.UpdateOperation.delete_points_by_filter(narrowed))

    def _delete(self, operation: edge.UpdateOperation) -> Callable[[], int]:
        apply = self._update(operation)

        def apply_and_count() -> int:
            before = self.figures().points
            number = apply()
            if gone := before - self.figures().points:
                (self.folder / _DELETED).write_text(str(self._deleted() + gone))
            return number

        return apply_and_count

    def _deleted(self) -> int:
        try:
            return int((self.folder / _DELETED).read_text())
        except (FileNotFoundError, ValueError):
            return 0

    @property
    def is_mostly_deleted(self) -> bool:
        """Do more deleted points than living ones take space?"""
        return self._deleted() > max(_WORTH_A_VACUUM, self.figures().points)

    def create_index(self, field: str, params: models.PayloadSchemaParams) -> Callable[[], int]:
        """Index a payload field; another index of the field is replaced."""
        with edge_errors():
            apply = self._update(edge.UpdateOperation.create_field_index(field, edge_index(params)))
        return lambda: self._reindex(apply, {**self.indexes, field: params})

    def delete_index(self, field: str) -> Callable[[], int]:
        """Drop a field's index; one that is not there is no failure."""
        with edge_errors():
            apply = self._update(edge.UpdateOperation.delete_field_index(field))
        return lambda: self._reindex(apply, {f: params for f, params in self.indexes.items() if f != field})

    def _update(self, operation: edge.UpdateOperation) -> Callable[[], int]:
        def apply() -> int:
            with edge_errors():
                self._shard.update(operation)
            return next(self._operations)

        return apply

    def _reindex(self, apply: Callable[[], int], indexes: dict[str, models.PayloadSchemaParams]) -> int:
        number = apply()
        self.flush()
        self.indexes = indexes
        self._describe()
        return number

    # What reads it.

    def query(self, requests: Sequence[models.QueryRequest]) -> list[list[dict[str, Any]]]:
        """Hits of each request, best first, in the shape of models.ScoredPoint."""
        with edge_errors():
            translator = QueryTranslator(self._shapes, self._shard.info().points_count, self._stored_vector)
            batch = edge.QueryBatchRequest([translator.request(request) for request in requests])
            return [[records.scored(point) for point in points] for points in self._shard.query_batch(batch)]

    def scroll(self, wire: models.ScrollRequest) -> tuple[list[dict[str, Any]], int | UUID | None]:
        """A page of points in the order of their ids, and the id that the next page starts with."""
        with edge_errors():
            translator = QueryTranslator(self._shapes, self._shard.info().points_count, self._stored_vector)
            request = edge.ScrollRequest(
                offset=None if wire.offset is None else edge_point_id(wire.offset),
                limit=translator.limit(wire.limit),
                filter=edge_filter(wire.filter),
                with_payload=with_payload(wire.with_payload, default=True),
                with_vector=with_vector(wire.with_vector, self._shapes),
            )
            points, following = self._shard.scroll(request)
            return [records.record(point) for point in points], following  # type: ignore[return-value]

    def count(self, wire: models.CountRequest) -> int:
        """How many points match; always exact."""
        with edge_errors():
            return self._shard.count(edge.CountRequest(exact=True, filter=edge_filter(wire.filter)))

    def retrieve(self, wire: models.PointRequest) -> list[dict[str, Any]]:
        """The points with these ids, in their order, those that are not there left out."""
        with edge_errors():
            points = self._shard.retrieve(
                edge_ids(wire.ids),
                with_payload(wire.with_payload, default=True),
                with_vector(wire.with_vector, self._shapes),
            )
            return [records.record(point) for point in points]

    def figures(self) -> Figures:
        """How much it holds."""
        with edge_errors():
            info = self._shard.info()
            indexed = {field: found.points for field, found in info.payload_schema.items()}
            return Figures(info.points_count, info.segments_count, info.indexed_vectors_count, indexed)

    def _stored_vector(self, id_: PointId, name: str) -> Any:
        found = self._shard.retrieve([edge_point_id(id_)], False, [name])
        if not found:
            raise NotFound(f"Not found: No point with id {id_} found")
        vectors: Any = found[0].vector
        vector = vectors.get(name) if isinstance(vectors, dict) else vectors
        if vector is None:
            raise WrongInput(f"Wrong input: point {id_} has no vector {name!r}")
        return vector
