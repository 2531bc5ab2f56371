"""The collection that the contract is checked on: 300 points, real-valued so that no two scores tie."""

import uuid
import warnings
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

COLLECTION = "contract"
# Tests that write keep to these, and leave the corpus alone.
FRESH = "contract-fresh"
COPY = "contract-copy"
PLAIN = "contract-plain"
NODES = "contract-nodes"
DIM = 24
SIZE = 300
LANGUAGES = ("python", "go", "rust", "c")


def point_id(row: int) -> int | str:
    """Every second id is a number, the others are UUIDs."""
    return row if row % 2 == 0 else str(uuid.uuid5(uuid.NAMESPACE_OID, str(row)))


def dense(seed: int) -> list[float]:
    values: list[float] = np.random.default_rng(seed).standard_normal(DIM).round(4).tolist()
    return values


def sparse(seed: int, size: int = 12) -> models.SparseVector:
    rng = np.random.default_rng(10_000 + seed)
    indices = sorted(rng.choice(60, size=size, replace=False).tolist())
    # ids of hashed terms use all 32 bits
    return models.SparseVector(
        indices=[index * 70_000_001 for index in indices], values=rng.uniform(0.1, 2.0, size).round(4).tolist()
    )


def payload(row: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "repository": f"r{row % 3}",
        "language": LANGUAGES[row % len(LANGUAGES)],
        "path": f"src/{'core' if row % 5 else 'db'}/file_{row}.py",
        "start_line": row * 3,
        "is_test": row % 7 == 0,
        "tags": [f"t{row % 4}", f"u{row % 6}", *(["extra"] if row % 3 == 0 else [])],
        "meta": {"depth": row % 5},
    }
    if row % 10 == 0:
        found["symbol"] = None
    elif row % 10 != 1:
        found["symbol"] = f"function_{row}"
    return found


def vectors(row: int) -> dict[str, Any]:
    """Some points lack their sparse vector, some their dense one."""
    found: dict[str, Any] = {}
    if row % 11 != 5:
        found["dense"] = dense(row)
    if row % 13 != 6:
        found["sparse"] = sparse(row)
    return found


def points() -> list[models.PointStruct]:
    return [models.PointStruct(id=point_id(row), vector=vectors(row), payload=payload(row)) for row in range(SIZE)]


def create(client: QdrantClient, name: str = COLLECTION) -> None:
    """An empty collection with the product's vectors and payload indexes."""
    client.create_collection(
        name,
        vectors_config={"dense": models.VectorParams(size=DIM, distance=models.Distance.COSINE)},
        sparse_vectors_config={"sparse": models.SparseVectorParams()},
    )


def index_payload(client: QdrantClient, name: str = COLLECTION) -> None:
    tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
    prefix = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, prefix=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Payload indexes have no effect in the local Qdrant")
        client.create_payload_index(name, "repository", tenant)
        client.create_payload_index(name, "path", prefix)
        client.create_payload_index(name, "start_line", models.PayloadSchemaType.INTEGER)


def fill(client: QdrantClient, name: str = COLLECTION) -> None:
    client.upsert(name, points(), wait=True)
