"""Search against the real services over HTTP: vector_db (and any Qdrant at QDRANT_URL), and embedding_service."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient

from embedding_service.core.settings import EmbeddingSettings
from embedding_service.main import create_app as create_embedding
from rag_app.clients.embedding import InProcessEmbedder, ServiceEmbedder
from rag_app.core.models import Chunk, Filters, ModelIdentity, SearchQuery
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import Arm, ChunkStore
from rag_app.db.filters import Selection
from rag_app.features.search.service import SearchService, is_relevant
from service_kit.errors import Conflict, Unavailable, Upstream
from tests.support.chunks import make_chunk
from tests.support.indexed import SmallIndex, open_manifest
from tests.support.live import live
from tests.support.qdrant import QDRANT_URL, SERVERS
from vector_db.core.settings import VectorDbSettings
from vector_db.main import create_app as create_vector_db


@pytest.fixture(scope="module")
def embedding_url() -> Iterator[str]:
    with live(create_embedding(EmbeddingSettings(_env_file=None))) as url:
        deadline = time.monotonic() + 60
        while httpx.get(f"{url}/readyz").status_code != 200:
            assert time.monotonic() < deadline, "the model was not loaded within 60 s"
            time.sleep(0.1)
        yield url


@pytest.fixture(params=SERVERS)
def qdrant_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "server":
        yield QDRANT_URL
        return
    with live(create_vector_db(VectorDbSettings(_env_file=None, vector_db_dir=tmp_path / "vectors"))) as url:
        yield url


@pytest.fixture
def settings(qdrant_url: str, embedding_url: str, request: pytest.FixtureRequest) -> RagSettings:
    address = urlsplit(qdrant_url)
    return RagSettings(
        _env_file=None,
        qdrant_host=address.hostname or "",
        qdrant_port=address.port or 6333,
        embedding_url=embedding_url,
        collection="test_" + "".join(char if char.isalnum() else "_" for char in request.node.name),
    )


@pytest.fixture
async def index(settings: RagSettings, tmp_path: Path) -> AsyncIterator[SmallIndex]:
    index = SmallIndex(ChunkStore(settings), open_manifest(tmp_path), ServiceEmbedder(settings))
    yield index
    await index.store.close()
    await index.embedder.close()
    index.manifest.close()


def chunks_of(repository: str) -> list[Chunk]:
    def chunk(path: str, text: str, qualified: str) -> Chunk:
        symbol = qualified.split(".")[-1]
        return make_chunk(path, text, repository=repository, symbol=symbol, qualified_name=qualified)

    return [
        chunk(
            "src/pool.py",
            "def close(self):\n    for connection in self.connections:\n        connection.shutdown()",
            "Pool.close",
        ),
        chunk("src/cache.py", "def evict(self, key):\n    del self.entries[key]", "Cache.evict"),
        chunk("src/json/reader.py", "def parse_number(text):\n    return float(text)", "parse_number"),
        chunk("tests/test_cache.py", "def test_evict():\n    cache.evict('a')", "test_evict"),
    ]


@pytest.fixture
async def repository(index: SmallIndex) -> str:
    identifier = index.repository("pools")
    await index.put(identifier, chunks_of(identifier))
    return identifier


async def search(index: SmallIndex, settings: RagSettings, query: SearchQuery) -> list[str]:
    service = SearchService(index.store, index.manifest, index.embedder, settings)
    result = await service.search(query, index.manifest.all_ids())
    assert result.degraded == ()
    return [hit.chunk.span.path for hit in result.hits]


@pytest.mark.usefixtures("repository")
async def test_each_mode_and_filter_finds_what_it_should(index: SmallIndex, settings: RagSettings) -> None:
    async def found(text: str, **words: object) -> list[str]:
        return await search(index, settings, SearchQuery(text, **words))  # type: ignore[arg-type]

    assert (await found("disconnect every socket"))[0] == "src/pool.py"
    assert (await found("turn a string into a numeral", mode="dense"))[0] == "src/json/reader.py"
    assert await found("evict entries", mode="sparse") == ["src/cache.py", "tests/test_cache.py"]
    assert await found("Cache.evict", mode="symbol") == ["src/cache.py"]
    assert await found("parse", mode="symbol") == ["src/json/reader.py"]
    assert await found("evict", filters=Filters(paths=("tests",))) == ["tests/test_cache.py"]
    assert await found("evict", filters=Filters(paths=("**/reader.py",))) == ["src/json/reader.py"]
    assert await found("evict", filters=Filters(symbols=("Pool.close",))) == ["src/pool.py"]


async def test_a_question_is_told_from_nonsense(index: SmallIndex, settings: RagSettings, repository: str) -> None:
    service = SearchService(index.store, index.manifest, index.embedder, settings)
    for text, expected in (
        ("how are connections of the pool closed?", True),
        ("remove a key from the cache", True),
        ("recipe for pancakes with maple syrup", False),
        ("asdf qwer zxcv", False),
    ):
        result = await service.search(SearchQuery(text), frozenset({repository}))
        assert any(is_relevant(hit) for hit in result.hits) is expected, text


async def test_the_store_writes_deletes_and_counts(index: SmallIndex, repository: str) -> None:
    scope = frozenset({repository})
    await index.store.ready()
    assert await index.store.count(scope) == 4
    chunk = chunks_of(repository)[0]
    assert await index.store.retrieve([chunk.id], scope) == [chunk]
    await index.store.delete_blobs(repository, "base", {("src/pool.py", "b1"), ("src/cache.py", "other")})
    assert await index.store.retrieve([chunk.id], scope) == []
    assert await index.store.count(scope) == 3
    await index.store.delete_repository(repository)
    assert await index.store.count(scope) == 0


@pytest.mark.usefixtures("repository")
async def test_another_model_and_another_store_are_told_apart(index: SmallIndex, settings: RagSettings) -> None:
    again = ChunkStore(settings)
    await again.prepare(await index.embedder.identity())
    with pytest.raises(Conflict):
        await again.prepare(ModelIdentity("other", 384, 256, "f" * 64))
    await again.close()


async def test_what_qdrant_refuses_is_an_upstream_failure_and_what_it_lacks_is_unavailable(
    index: SmallIndex, settings: RagSettings, repository: str
) -> None:
    scope = Selection(frozenset({repository}), frozenset({"base"}))
    with pytest.raises(Upstream):
        await index.store.query([Arm((1.0, 0.0), 3)], scope)
    empty = ChunkStore(settings.model_copy(update={"collection": "never_made"}))
    with pytest.raises(Unavailable, match="sync a repository"):
        await empty.query([Arm((0.1,) * 384, 3)], scope)
    await empty.close()


async def test_llama_indexs_own_store_opens_the_collection(
    index: SmallIndex, settings: RagSettings, repository: str
) -> None:
    url = f"http://{settings.qdrant_host}:{settings.qdrant_port}"
    store = QdrantVectorStore(settings.collection, client=QdrantClient(url=url), dense_vector_name="dense")
    vector = await index.embedder.model.aget_query_embedding("close all connections")
    found = store.query(VectorStoreQuery(query_embedding=vector, similarity_top_k=2))
    assert found.nodes is not None
    best = found.nodes[0]
    assert best.get_content() == chunks_of(repository)[0].text
    assert best.metadata["path"] == "src/pool.py"
    assert best.metadata["qualified_name"] == "Pool.close"


async def test_the_service_and_the_model_in_process_give_the_same_vectors(embedding_url: str) -> None:
    texts = ["def close(self): ...", "open a file 파일", "x", "word " * 254]
    service = ServiceEmbedder(RagSettings(_env_file=None, embedding_url=embedding_url))
    inside = InProcessEmbedder("sentence-transformers/all-MiniLM-L6-v2")
    theirs = await service.model.aget_text_embedding_batch(texts)
    ours = await inside.model.aget_text_embedding_batch(texts)
    for one, other in zip(theirs, ours, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert await service.model.aget_query_embedding("q") == pytest.approx(
        await inside.model.aget_query_embedding("q"), abs=1e-4
    )
    assert await service.count_tokens(texts) == await inside.count_tokens(texts)
    told, known = await service.identity(), await inside.identity()
    assert (told.dim, told.max_tokens) == (known.dim, known.max_tokens)
    with pytest.raises(Upstream):
        await service.model.aget_text_embedding_batch(["word " * 300])
    await service.close()
    await inside.close()
