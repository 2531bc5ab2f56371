"""How the collection lies in a Qdrant cluster and in memory: chosen when it is made, where a setting says so.

What is not set is not sent: vector_db has one shard in one process, and refuses, in words, what it has not. With
`on_disk` and `always_ram` Qdrant's older and newer servers are told alike; its `memory` fields came with 1.18.
"""

from typing import Any

from qdrant_client import models

from rag_app.core.settings import RagSettings

# Of int8's outliers: the widest 1 % are cut, so that the rest has finer steps. Qdrant's own advice.
_INT8_QUANTILE = 0.99


def dense_params(settings: RagSettings, dim: int) -> models.VectorParams:
    """The dense vectors: cosine, and where they are kept. Quantised ones are in memory, beside the originals."""
    return models.VectorParams(
        size=dim,
        distance=models.Distance.COSINE,
        on_disk=settings.qdrant_vectors_on_disk,
        hnsw_config=None if settings.qdrant_hnsw_m is None else models.HnswConfigDiff(m=settings.qdrant_hnsw_m),
        quantization_config=_quantization(settings),
    )


def collection_options(settings: RagSettings) -> dict[str, Any]:
    """What of create_collection() is set: shards, copies, how many copies must have a write, where payloads are."""
    options = {
        "shard_number": settings.qdrant_shards,
        "replication_factor": settings.qdrant_replicas,
        "write_consistency_factor": settings.qdrant_write_consistency,
        "on_disk_payload": settings.qdrant_payload_on_disk,
    }
    return {name: value for name, value in options.items() if value is not None}


def write_options(settings: RagSettings) -> dict[str, Any]:
    """What of upsert() and delete() is set."""
    ordering = settings.qdrant_write_ordering
    return {} if ordering is None else {"ordering": models.WriteOrdering(ordering)}


def read_options(settings: RagSettings) -> dict[str, Any]:
    """What of the reading methods is set."""
    asked = settings.qdrant_read_consistency
    if asked is None:
        return {}
    return {"consistency": asked if isinstance(asked, int) else models.ReadConsistencyType(asked)}


def dense_search(settings: RagSettings) -> models.SearchParams | None:
    """How the dense arm is asked where vectors are quantised: more candidates than wanted, ranked by the originals."""
    if settings.qdrant_quantization is None:
        return None
    quantization = models.QuantizationSearchParams(rescore=True, oversampling=settings.qdrant_oversampling)
    return models.SearchParams(quantization=quantization)


def _quantization(settings: RagSettings) -> models.ScalarQuantization | models.BinaryQuantization | None:
    match settings.qdrant_quantization:
        case "int8":
            scalar = models.ScalarQuantizationConfig(
                type=models.ScalarType.INT8, quantile=_INT8_QUANTILE, always_ram=True
            )
            return models.ScalarQuantization(scalar=scalar)
        case "binary":
            return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
        case None:
            return None
