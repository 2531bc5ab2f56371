"""A vector_db on a real port, its folder, and Qdrant's client for it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from qdrant_client import QdrantClient, models

from tests.support.live import live
from vector_db.core.settings import VectorDbSettings
from vector_db.main import create_app

DIM = 4


def settings(folder: Path, **changes: object) -> VectorDbSettings:
    return VectorDbSettings(_env_file=None, vector_db_dir=folder, **changes)  # type: ignore[call-arg, arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vector_db"


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    with live(create_app(settings(folder, max_body_bytes=200_000))) as base:
        yield base


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    """The raw API, with a collection `code` that has a `dense` vector of 4 numbers and a `sparse` one."""
    with httpx.Client(base_url=url) as client:
        body = {"vectors": {"dense": {"size": DIM, "distance": "Cosine"}}, "sparse_vectors": {"sparse": {}}}
        client.put("/collections/code", json=body).raise_for_status()
        yield client


@pytest.fixture
def client(http: httpx.Client, url: str) -> Iterator[QdrantClient]:
    found = QdrantClient(url=url)
    yield found
    found.close()


@pytest.fixture
def filled(client: QdrantClient) -> QdrantClient:
    """`code` holds points 0 to 9."""
    rows = [models.PointStruct(id=i, vector={"dense": [1.0, i, 0.0, 0.0]}, payload={"n": i}) for i in range(10)]
    client.upsert("code", rows, wait=True)
    return client
