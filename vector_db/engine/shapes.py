"""What vectors a collection takes, read from the request that created it; and Edge's configuration for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import qdrant_edge as edge
from qdrant_client.http import models

from service_kit.errors import ValidationFailed
from vector_db.core.errors import NotSupported, WrongInput

# Qdrant's own limit.
MAX_DIM = 65_536

# What Edge's optimizer does where it is asked: rewrite a segment of which more than half is deleted, at 0.08 to 0.11
# CPU-ms a living point. It must not build HNSW, which costs ten times as much.
_OPTIMIZERS = edge.EdgeOptimizersConfig(
    deleted_threshold=0.5, vacuum_min_vector_number=1000, default_segment_number=1, indexing_threshold=2**40
)

_DISTANCES = {
    models.Distance.COSINE: edge.Distance.Cosine,
    models.Distance.DOT: edge.Distance.Dot,
    models.Distance.EUCLID: edge.Distance.Euclid,
    models.Distance.MANHATTAN: edge.Distance.Manhattan,
}


@dataclass(frozen=True, slots=True)
class Shapes:
    """dense: vector name → dimension, the unnamed vector is "". sparse: names."""

    dense: Mapping[str, int]
    sparse: frozenset[str]

    @classmethod
    def of(cls, request: models.CreateCollection) -> Self:
        """The shapes that `request` asks for."""
        dense = {name: params.size for name, params in dense_params(request).items()}
        return cls(dense, frozenset(request.sparse_vectors or {}))

    def check_known(self, name: str) -> None:
        """Fails with WrongInput where the collection has no vector of this name."""
        if name not in self.dense and name not in self.sparse:
            known = ", ".join(map(repr, [*self.dense, *sorted(self.sparse)])) or "none"
            raise WrongInput(f"Wrong input: Not existing vector name error: {name!r}; the collection has {known}")


def dense_params(request: models.CreateCollection) -> dict[str, models.VectorParams]:
    """Vector name → parameters; the unnamed vector is ""."""
    if request.vectors is None:
        return {}
    if isinstance(request.vectors, models.VectorParams):
        return {"": request.vectors}
    return dict(request.vectors)


def edge_config(request: models.CreateCollection) -> edge.EdgeConfig:
    """Edge's configuration for a new collection; fails with NotSupported or ValidationFailed, naming the part."""
    _refuse_unsupported(request)
    vectors = {name: _edge_vector(name, params) for name, params in dense_params(request).items()}
    sparse = {name: _edge_sparse(name, params) for name, params in (request.sparse_vectors or {}).items()}
    if not vectors and not sparse:
        raise ValidationFailed("a collection needs at least one vector: set `vectors` or `sparse_vectors`")
    if clashes := vectors.keys() & sparse.keys():
        raise ValidationFailed(f"dense and sparse vectors share a name: {', '.join(sorted(clashes))}")
    return edge.EdgeConfig(vectors=vectors, sparse_vectors=sparse, optimizers=_OPTIMIZERS)


def _edge_vector(name: str, params: models.VectorParams) -> edge.EdgeVectorParams:
    if not 1 <= params.size <= MAX_DIM:
        raise ValidationFailed(f"vector {name!r}: size {params.size} is not within 1 and {MAX_DIM}")
    if params.multivector_config is not None:
        raise NotSupported("a multivector")
    if params.quantization_config is not None:
        raise NotSupported("quantization")
    if params.datatype is not None and params.datatype is not models.Datatype.FLOAT32:
        raise NotSupported(f"vector datatype {params.datatype.value}")
    return edge.EdgeVectorParams(params.size, _DISTANCES[params.distance])


def _edge_sparse(name: str, params: models.SparseVectorParams) -> edge.EdgeSparseVectorParams:
    datatype = params.index.datatype if params.index is not None else None
    if datatype is not None and datatype is not models.Datatype.FLOAT32:
        raise NotSupported(f"sparse datatype {datatype.value} of {name!r}")
    return edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf if params.modifier else None)


def _refuse_unsupported(request: models.CreateCollection) -> None:
    for name in ("shard_number", "replication_factor", "write_consistency_factor"):
        if (getattr(request, name) or 1) != 1:
            raise NotSupported(f"{name} = {getattr(request, name)}")
    if request.sharding_method not in {None, models.ShardingMethod.AUTO}:
        raise NotSupported("custom sharding")
    refuse_set(request, ("quantization_config", "strict_mode_config", "payload", "id_tracker"))


def refuse_set(request: object, names: Iterable[str]) -> None:
    """Fails with NotSupported where one of these fields of a wire model was given."""
    for name in names:
        if getattr(request, name) is not None:
            raise NotSupported(f"`{name}`")
