"""Who is held to the contract: vector_db on a real port and, where QDRANT_URL is set, a real Qdrant server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from tests.contract import corpus
from tests.support.live import live
from tests.support.qdrant import QDRANT_URL, SERVERS
from vector_db.core.settings import VectorDbSettings
from vector_db.main import create_app


@dataclass(frozen=True)
class Pair:
    """subject: the server under test. oracle: qdrant-client's own engine, in memory. Both hold the same points."""

    subject: QdrantClient
    oracle: QdrantClient

    def both(self) -> tuple[QdrantClient, QdrantClient]:
        return self.subject, self.oracle


@pytest.fixture(params=SERVERS, scope="session")
def server_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "server":
        yield QDRANT_URL
        return
    folder: Path = tmp_path_factory.mktemp("vector_db")
    settings = VectorDbSettings(_env_file=None, vector_db_dir=folder)  # type: ignore[call-arg]
    with live(create_app(settings)) as url:
        yield url


@pytest.fixture(scope="module")
def pair(server_url: str) -> Iterator[Pair]:
    """Both hold the corpus. For tests that only read."""
    with _empty_pair(server_url, [corpus.COLLECTION]) as both:
        for client in both.both():
            corpus.create(client)
            corpus.index_payload(client)
            corpus.fill(client)
        yield both


@pytest.fixture
def fresh(server_url: str) -> Iterator[Pair]:
    """Both are empty. For tests that write."""
    with _empty_pair(server_url, [corpus.FRESH, corpus.COPY, corpus.PLAIN, corpus.NODES]) as both:
        yield both


@contextmanager
def _empty_pair(url: str, names: Sequence[str]) -> Iterator[Pair]:
    subject, oracle = QdrantClient(url=url), QdrantClient(":memory:")
    for name in names:  # on a real server only what these tests make is touched
        subject.delete_collection(name)
    yield Pair(subject, oracle)
    for name in names:
        subject.delete_collection(name)
    subject.close()
    oracle.close()
