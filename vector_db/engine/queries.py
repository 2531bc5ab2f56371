"""Queries from the wire to Edge: nearest by vector, sparse vector or point id, prefetches, and their fusion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import qdrant_edge as edge
from qdrant_client.http import models

from service_kit.errors import ValidationFailed
from vector_db.core.errors import NotSupported, WrongInput
from vector_db.engine.filters import edge_filter
from vector_db.engine.points import PointId, edge_point_id, edge_vector
from vector_db.engine.shapes import Shapes, refuse_set

# Qdrant's defaults.
DEFAULT_LIMIT = 10
DEFAULT_RRF_K = 2

# Prefetches within prefetches; Qdrant's own schema stops a request that nests deeper than serde's 128 levels.
MAX_DEPTH = 16

# (point id, vector name) → the stored vector; fails with NotFound.
StoredVector = Callable[[PointId, str], Any]


@dataclass(frozen=True, slots=True)
class QueryTranslator:
    """Turns query requests into Edge's. size: points in the collection, which caps every limit without a loss."""

    shapes: Shapes
    size: int
    stored_vector: StoredVector

    def request(self, wire: models.QueryRequest) -> edge.QueryRequest:
        """Edge's form of a whole request; fails with WrongInput, ValidationFailed, NotSupported or NotFound."""
        refuse_set(wire, ("shard_key", "lookup_from"))
        prefetches = self._prefetches(wire.prefetch, depth=1)
        query, narrowed = self._query(wire.query, wire.using, wire.filter, len(prefetches))
        return edge.QueryRequest(
            limit=self.limit(wire.limit),
            offset=self._offset(wire.offset),
            query=query,
            prefetches=prefetches,
            with_vector=with_vector(wire.with_vector, self.shapes),
            with_payload=with_payload(wire.with_payload, default=False),
            filter=narrowed,
            score_threshold=wire.score_threshold,
            params=_params(wire.params),
        )

    def limit(self, wire: int | None) -> int:
        """A limit, 10 where none is given, never more than there are points; fails with ValidationFailed below 1."""
        if wire is None:
            return DEFAULT_LIMIT
        if wire < 1:
            raise ValidationFailed(f"limit: value {wire} invalid, must be 1 or larger")
        return min(wire, max(self.size, 1))

    def _offset(self, wire: int | None) -> int:
        if wire is None:
            return 0
        if wire < 0:
            raise ValidationFailed(f"offset: value {wire} invalid, must be 0 or larger")
        return min(wire, self.size)

    def _prefetches(self, wire: Any, depth: int) -> list[edge.Prefetch]:
        if wire is None:
            return []
        if depth > MAX_DEPTH:
            raise ValidationFailed(f"prefetches are nested deeper than {MAX_DEPTH}")
        parts: Sequence[models.Prefetch] = wire if isinstance(wire, list) else [wire]
        return [self._prefetch(part, depth) for part in parts]

    def _prefetch(self, wire: models.Prefetch, depth: int) -> edge.Prefetch:
        refuse_set(wire, ("lookup_from",))
        nested = self._prefetches(wire.prefetch, depth + 1)
        query, narrowed = self._query(wire.query, wire.using, wire.filter, len(nested))
        return edge.Prefetch(
            limit=self.limit(wire.limit),
            query=query,
            prefetches=nested,
            params=_params(wire.params),
            filter=narrowed,
            score_threshold=wire.score_threshold,
        )

    def _query(
        self, wire: Any, using: str | None, wire_filter: models.Filter | None, sources: int
    ) -> tuple[Any, edge.Filter | None]:
        narrowed = edge_filter(wire_filter)
        if isinstance(wire, models.NearestQuery):
            if wire.mmr is not None:
                raise NotSupported("a query with `mmr`")
            wire = wire.nearest
        if isinstance(wire, models.FusionQuery | models.RrfQuery):
            return _fusion(wire, sources), narrowed
        if wire is None:
            if sources:
                raise WrongInput("Wrong input: a query is needed to merge the prefetches")
            return None, narrowed
        name = using or ""
        self.shapes.check_known(name)
        if isinstance(wire, int | str | UUID):
            return self._nearest_to_point(wire, name, narrowed)
        if not isinstance(wire, list | models.SparseVector):
            raise NotSupported(f"query of kind {type(wire).__name__}")
        return edge.Query.Nearest(edge_vector(name, wire, self.shapes), using=name), narrowed

    def _nearest_to_point(self, id_: PointId, name: str, narrowed: edge.Filter | None) -> tuple[Any, edge.Filter]:
        vector = self.stored_vector(id_, name)
        itself = edge.HasIdCondition({edge_point_id(id_)})
        excluded = edge.Filter(must=[narrowed] if narrowed is not None else None, must_not=[itself])
        return edge.Query.Nearest(vector, using=name), excluded


def _fusion(wire: models.FusionQuery | models.RrfQuery, sources: int) -> Any:
    if not sources:
        raise WrongInput("Wrong input: a fusion needs at least one prefetch")
    if isinstance(wire, models.FusionQuery):
        is_rrf = wire.fusion is models.Fusion.RRF
        return edge.Fusion.Rrf(DEFAULT_RRF_K) if is_rrf else edge.Fusion.Dbsf()
    weights = wire.rrf.weights
    if weights is not None and len(weights) != sources:
        raise WrongInput(f"Wrong input: rrf has {len(weights)} weights, but there are {sources} prefetches")
    k = DEFAULT_RRF_K if wire.rrf.k is None else wire.rrf.k
    if k < 1:
        raise ValidationFailed(f"rrf.k: value {k} invalid, must be 1 or larger")
    return edge.Fusion.Rrf(k, weights)


def _params(wire: models.SearchParams | None) -> edge.SearchParams | None:
    if wire is None:
        return None
    refuse_set(wire, ("acorn", "idf", "quantization"))
    return edge.SearchParams(hnsw_ef=wire.hnsw_ef, exact=bool(wire.exact), indexed_only=bool(wire.indexed_only))


def with_payload(wire: Any, *, default: bool) -> Any:
    """Which payload keys to answer, as Edge takes it: a boolean or a selector."""
    match wire:
        case None:
            return default
        case models.PayloadSelectorInclude():
            return edge.PayloadSelector.Include(wire.include)
        case models.PayloadSelectorExclude():
            return edge.PayloadSelector.Exclude(wire.exclude)
        case _:
            return wire


def with_vector(wire: bool | list[str] | None, shapes: Shapes) -> Any:
    """Which vectors to answer, as Edge takes it; fails with WrongInput for an unknown name."""
    if isinstance(wire, list):
        for name in wire:
            shapes.check_known(name)
        return wire
    return bool(wire)
