"""The wire shapes of search."""

from pydantic import BaseModel, ConfigDict, Field

from rag_app.core.models import Filters, Hit, SearchMode, SearchQuery, SearchResult

# What a hit tells without being asked: how near in meaning and words. The rest comes with `explain`.
_TOLD = ("dense", "sparse", "sparse_share", "fused", "name")


class SearchRequest(BaseModel):
    """A search. Unknown fields are refused, so that a filter with a typo narrows or fails, and is never ignored."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(description="What to look for: words, a question, a name, a piece of code.")
    repositories: list[str] | None = Field(None, description="Ids; all that you may see where left out.")
    ref: str | None = Field(None, description="Branch, tag or commit; each repository's default where left out.")
    languages: list[str] = Field(default_factory=list, max_length=50, description="Such as python or markdown.")
    paths: list[str] = Field(default_factory=list, max_length=50, description="Folders, files or globs; any may match.")
    symbols: list[str] = Field(default_factory=list, max_length=50, description="Names or qualified names, any case.")
    mode: SearchMode = Field("hybrid", description="hybrid, dense (meaning), sparse (words) or symbol (names).")
    limit: int = Field(10, description="Hits wanted.")
    explain: bool = Field(False, description="Tell each arm's rank and score, and each boost.")

    def to_query(self) -> SearchQuery:
        """The search that is asked for, without its scope."""
        filters = Filters(tuple(self.languages), tuple(self.paths), tuple(self.symbols))
        return SearchQuery(self.query, self.ref, filters, self.mode, self.limit)


class HitOut(BaseModel):
    """A chunk that was found. Lines count from 1, both ends included; score is in [0, 1]."""

    id: str
    repository: str
    ref: str
    commit: str
    path: str
    start_line: int
    end_line: int
    language: str
    symbol: str
    content: str
    score: float
    scores: dict[str, float]

    @classmethod
    def of(cls, hit: Hit, explain: bool = False) -> "HitOut":
        """The wire shape of a hit; every part of its score where explain."""
        span = hit.chunk.span
        return cls(
            id=hit.chunk.id,
            repository=hit.chunk.repository,
            ref=hit.ref,
            commit=hit.commit,
            path=span.path,
            start_line=span.start_line,
            end_line=span.end_line,
            language=hit.chunk.language,
            symbol=hit.chunk.qualified_name or hit.chunk.symbol,
            content=hit.chunk.text,
            score=hit.score,
            scores={name: value for name, value in hit.scores.items() if explain or name in _TOLD},
        )


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
