"""Search: what may happen. Other features meet search here."""

import asyncio
from collections.abc import Mapping
from typing import Any

from rag_app.clients.embedding import Embedder
from rag_app.clients.reranking import Reranker
from rag_app.core.metrics import RagMetrics
from rag_app.core.models import Scope, SearchQuery, SearchResult
from rag_app.core.settings import RagSettings
from rag_app.core.wire import checked_text
from rag_app.db.chunks import ChunkStore
from rag_app.db.manifest import Manifest
from rag_app.db.records import KeptRanking
from rag_app.features.search import kept
from rag_app.features.search.query import checked_limit, narrowed_scope
from rag_app.features.search.relevance import is_relevant
from rag_app.features.search.retriever import CodeRetriever

__all__ = ["CodeRetriever", "SearchService", "checked_limit", "is_relevant", "narrowed_scope"]


class SearchService:
    """Finds chunks by meaning, words and names, among the repositories that a caller may see."""

    def __init__(
        self,
        store: ChunkStore,
        manifest: Manifest,
        embedder: Embedder,
        settings: RagSettings,
        metrics: RagMetrics | None = None,
        reranker: Reranker | None = None,
    ):
        """reranker: reads the first hits again; None: nobody does. Does no I/O."""
        self._metrics = metrics or RagMetrics()
        self._store = store
        self._manifest = manifest
        self._embedder = embedder
        self._settings = settings
        self._reranker = reranker

    async def search(self, query: SearchQuery, scope: Scope) -> SearchResult:
        """Hits, best first, each of a file that is indexed now.

        NothingToDo for a blank text, ValidationFailed for one that is too long, NotFound for a ref that no repository
        has, Unavailable where Qdrant is down. An embedding service that is down is told in `degraded`, and fails mode
        "dense" only.
        """
        # Checked before LlamaIndex sees them: its callbacks would log a bad query as a retrieval.
        text = checked_text("query", query.text, self._settings.max_query_chars)
        checked_limit(query, self._settings)
        retriever = self.retriever(query, scope)
        await retriever.aretrieve(text)
        return retriever.result

    def retriever(self, query: SearchQuery, scope: Scope) -> CodeRetriever:
        """A LlamaIndex retriever that does one such search; its `result` holds what search() would return."""
        return CodeRetriever(
            self._store, self._manifest, self._embedder, self._settings, query, scope, self._metrics, self._reranker
        )

    def idle_weights(self) -> tuple[str, ...]:
        """The weights that do nothing here, since what they weigh is not configured."""
        return ("rerank_share",) if self._reranker is None else ()

    async def kept_ranking(self, repository: str, scope: Scope) -> KeptRanking | None:
        """The weights that are kept for a repository, or None. NotFound where it is not in scope."""
        return await asyncio.to_thread(kept.told, self._manifest, repository, scope)

    async def keep_ranking(
        self, repository: str, scope: Scope, weights: Mapping[str, float], evidence: Mapping[str, Any]
    ) -> KeptRanking | None:
        """Keep weights for searches of this repository alone; what is kept then. Fails as kept.keep() does."""
        await asyncio.to_thread(kept.keep, self._manifest, repository, scope, weights, evidence)
        return await self.kept_ranking(repository, scope)

    async def forget_ranking(self, repository: str, scope: Scope) -> None:
        """Go back to the defaults. NotFound where it is not in scope; Conflict while the index is being restored."""
        await asyncio.to_thread(kept.forget, self._manifest, repository, scope)
