"""An index in memory, with the embedding client over real HTTP."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from qdrant_client import AsyncQdrantClient

from rag_app.clients.embedding import ServiceEmbedder
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from tests.support.fake_tei import FakeTei
from tests.support.indexed import SmallIndex, open_manifest
from tests.support.live import live
from tests.support.pools import pool_chunks


@pytest.fixture(scope="package")
def tei() -> FakeTei:
    return FakeTei(max_input_length=512, max_client_batch_size=64, extra_info={"dim": 8, "identity": "ab" * 16})


@pytest.fixture(scope="package")
def tei_url(tei: FakeTei) -> Iterator[str]:
    with live(tei.app()) as url:
        yield url


@pytest.fixture
async def index(tmp_path: Path, tei_url: str) -> AsyncIterator[SmallIndex]:
    settings = RagSettings(_env_file=None, embedding_url=tei_url)
    store = ChunkStore(settings, AsyncQdrantClient(":memory:"))
    embedder = ServiceEmbedder(settings)
    index = SmallIndex(store, open_manifest(tmp_path), embedder)
    yield index
    await embedder.close()
    await store.close()
    index.manifest.close()


@pytest.fixture
async def repository(index: SmallIndex) -> str:
    identifier = index.repository("pools")
    await index.put(identifier, pool_chunks(identifier))
    return identifier
