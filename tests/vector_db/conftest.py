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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vector_db")


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with live(create_app(settings(folder, vector_db_max_body_bytes=200_000))) as base:
        yield base


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    """The raw API, with nothing but a collection `code` that has a `dense` vector of 4 numbers and a `sparse` one."""
    with httpx.Client(base_url=url) as client:
        for found in client.get("/collections").json()["result"]["collections"]:
            client.delete(f"/collections/{found['name']}").raise_for_status()
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
