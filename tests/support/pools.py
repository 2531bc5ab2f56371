"""A small repository about a pool, over the real manifest and Qdrant's engine in memory, and ways to search it."""

from typing import Any

from rag_app.core.models import Chunk, Scope, SearchQuery, SearchResult
from rag_app.core.settings import RagSettings
from rag_app.features.search.service import SearchService
from tests.support.chunks import make_chunk
from tests.support.indexed import SmallIndex


def pool_chunks(repository: str) -> list[Chunk]:
    """Code, a test and documentation, the same each time."""

    def chunk(path: str, text: str, qualified: str = "", **words: Any) -> Chunk:
        symbol = qualified.split(".")[-1]
        return make_chunk(path, text, repository=repository, symbol=symbol, qualified_name=qualified, **words)

    return [
        chunk("src/pool.py", "def close(self):\n    self.lock.release()", "Pool.close"),
        chunk("src/pool.py", "def open(self):\n    self.lock.acquire()", "Pool.open", start_line=10),
        chunk("src/http/server.py", "class HTTPServer:\n    port = 80", "HTTPServer", kind="class"),
        chunk("tests/test_pool.py", "def test_close():\n    pool.close()\n    lock.release()", "test_close"),
        chunk("docs/pool.md", "# The pool\nHow to release the lock", language="markdown", kind="section"),
    ]


def service_over(index: SmallIndex, **settings: Any) -> SearchService:
    """The service as it is, with other settings."""
    return SearchService(index.store, index.manifest, index.embedder, RagSettings(_env_file=None, **settings))


async def find(index: SmallIndex, text: str, scope: Scope | None = None, **words: Any) -> SearchResult:
    """Search all repositories, or a scope; words: more of the query."""
    return await service_over(index).search(SearchQuery(text, **words), scope or index.manifest.all_ids())


def places(result: SearchResult) -> list[str]:
    """The hits as path:line, in order."""
    return [f"{hit.chunk.span.path}:{hit.chunk.span.start_line}" for hit in result.hits]
