"""A search whose hits a test lays down: a real LlamaIndex retriever, so that what passes it can be seen to pass."""

from dataclasses import dataclass, field, replace

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from rag_app.core.models import Chunk, Hit, Scope, SearchQuery, SearchResult, Span


def hit(
    path: str, text: str, *, symbol: str = "", start_line: int = 1, dense: float = 0.9, language: str = "python"
) -> Hit:
    """A hit as search gives one. dense: below 0.35 it is not relevant."""
    span = Span(path, start_line, start_line + text.count("\n"))
    chunk = Chunk(f"id-{path}-{start_line}", "repo", "base", "blob", span, language, "function", symbol, symbol, text)
    return Hit(chunk, "main", "c" * 40, dense, {"dense": dense})


class CannedRetriever(BaseRetriever):
    """Answers with the hits that it was given."""

    def __init__(self, search: "CannedSearch", query: SearchQuery, scope: Scope):
        super().__init__()
        self._search, self._query, self._scope = search, query, scope
        self.result = SearchResult((), (), {})

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if self._search.failure is not None:
            raise self._search.failure
        self._search.asked.append((replace(self._query, text=query_bundle.query_str), self._scope))
        self.result = SearchResult(tuple(self._search.hits), self._search.degraded, {"total": 1.0})
        return [NodeWithScore(node=_node(one), score=one.score) for one in self._search.hits]


@dataclass
class CannedSearch:
    """Stands in for SearchService. `asked`: the queries and scopes that were retrieved for."""

    hits: list[Hit] = field(default_factory=list)
    degraded: tuple[str, ...] = ()
    failure: Exception | None = None
    asked: list[tuple[SearchQuery, Scope]] = field(default_factory=list)

    def retriever(self, query: SearchQuery, scope: Scope) -> CannedRetriever:
        return CannedRetriever(self, query, scope)


def _node(one: Hit) -> TextNode:
    span = one.chunk.span
    metadata = {
        "path": span.path,
        "start_line": span.start_line,
        "end_line": span.end_line,
        "repository": one.chunk.repository,
        "commit": one.commit,
        "language": one.chunk.language,
        "qualified_name": one.chunk.qualified_name,
    }
    return TextNode(id_=one.chunk.id, text=one.chunk.text, metadata=metadata)
