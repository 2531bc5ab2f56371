"""The wire shapes of search."""

from pydantic import BaseModel, Field

from rag_app.core.models import SearchResult
from rag_app.core.wire import HitOut, Narrowed


class SearchRequest(Narrowed):
    """A search."""

    query: str = Field(description="What to look for: words, a question, a name, a piece of code.")
    explain: bool = Field(False, description="Tell each arm's rank and score, and each boost.")


class SearchResponse(BaseModel):
    """Hits, best first. degraded: arms that could not be asked; took_ms: by stage."""

    hits: list[HitOut]
    degraded: list[str]
    took_ms: dict[str, float]

    @classmethod
    def of(cls, result: SearchResult, explain: bool) -> "SearchResponse":
        """The wire shape of a result."""
        hits = [HitOut.of(hit, explain) for hit in result.hits]
        return cls(hits=hits, degraded=list(result.degraded), took_ms=dict(result.took_ms))
