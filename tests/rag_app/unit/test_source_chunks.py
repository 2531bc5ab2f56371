"""A file's chunks, read back from the store."""

import pytest
from qdrant_client import AsyncQdrantClient

from rag_app.core.models import EmbeddedChunk, ModelIdentity, SparseVector
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from rag_app.features.source.service import lines_of
from tests.support.chunks import make_chunk

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


async def test_a_file_of_many_chunks_comes_back_whole_in_order_and_only_to_those_who_may_see_it() -> None:
    store = ChunkStore(RagSettings(_env_file=None), AsyncQdrantClient(":memory:"))
    await store.prepare(ModelIdentity("m", 2, 256, "ab" * 16))
    mine = [make_chunk("a.py", f"line {number}", start_line=number) for number in range(300, 0, -1)]
    others = [make_chunk("a.py", "old", blob="b0"), make_chunk("b.py", "other"), make_chunk("a.py", "x", layer="l2")]
    vector = SparseVector((1,), (1.0,))
    await store.upsert([EmbeddedChunk(chunk, (1.0, 0.0), vector) for chunk in mine + others])
    found = await store.of_blob("r1", "base", "a.py", "b1", frozenset({"r1"}))
    assert lines_of(found) == [f"line {number}" for number in range(1, 301)]
    assert found == mine[::-1]
    assert await store.of_blob("r1", "base", "a.py", "b1", frozenset({"r2"})) == []
    await store.close()
