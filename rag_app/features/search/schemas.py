"""The wire shapes of search."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from rag_app.core.models import Asked, SearchQuery, SearchResult
from rag_app.core.wire import FILTERS_TOLD, HitOut, Narrowed, Word
from rag_app.db.records import KeptRanking


class SearchRequest(Narrowed):
    """A search."""

    query: str = Field(
        description=f"What to look for: words, a question, a name, a path, an error, a piece of code. {FILTERS_TOLD}"
    )
    explain: bool = Field(False, description="Tell each arm's rank and score, each boost, and how the query was read.")
    ranking: dict[Word, float] = Field(
        default_factory=dict,
        max_length=50,
        description="Other values for weights of the ranking, for this search only; `explain` lists them.",
    )

    def search_query(self, text: str) -> SearchQuery:
        """As Narrowed's, with the weights asked for."""
        return replace(super().search_query(text), ranking=self.ranking)


class AskedOut(BaseModel):
    """How a query was understood: what was searched, where, and by whose weights (default, repository, request)."""

    kind: str
    text: str
    filters: dict[str, list[str]]
    weights: dict[str, float]
    weights_from: str

    @classmethod
    def of(cls, asked: Asked) -> "AskedOut":
        """The wire shape."""
        filters = {name: list(values) for name, values in asdict(asked.filters).items()}
        return cls(
            kind=asked.kind,
            text=asked.text,
            filters=filters,
            weights=dict(asked.weights),
            weights_from=asked.weights_from,
        )


class SearchResponse(BaseModel):
    """Hits, best first. degraded: arms that could not be asked; took_ms: by stage; query: where explain."""

    hits: list[HitOut]
    degraded: list[str]
    took_ms: dict[str, float]
    query: AskedOut | None = None

    @classmethod
    def of(cls, result: SearchResult, explain: bool) -> "SearchResponse":
        """The wire shape of a result."""
        hits = [HitOut.of(hit, explain) for hit in result.hits]
        query = AskedOut.of(result.asked) if explain and result.asked is not None else None
        return cls(hits=hits, degraded=list(result.degraded), took_ms=dict(result.took_ms), query=query)


class KeepRequest(BaseModel):
    """Weights to be kept for a repository."""

    model_config = ConfigDict(extra="forbid")

    weights: dict[Word, float] = Field(min_length=1, max_length=50, description="By name, as `ranking` of a search.")
    evidence: dict[Word, JsonValue] = Field(
        default_factory=dict, max_length=50, description="What they are kept for, such as the gain; told back as it is."
    )


class BoundsOut(BaseModel):
    """Between what a weight may lie, and where its signal is out."""

    lowest: float
    highest: float
    neutral: float


class RankingOut(BaseModel):
    """The weights of searches of one repository. weights: all that are kept; empty, and kept_at null, if none.

    idle: weights that do nothing here, since what they weigh (a reranker) is not configured.
    """

    weights: dict[str, float]
    defaults: dict[str, float]
    bounds: dict[str, BoundsOut]
    idle: list[str]
    evidence: dict[str, JsonValue]
    kept_at: str | None

    @classmethod
    def of(
        cls,
        kept: KeptRanking | None,
        defaults: Mapping[str, float],
        bounds: Mapping[str, tuple[float, float, float]],
        idle: Sequence[str],
    ) -> "RankingOut":
        """The wire shape. bounds: (lowest, highest, neutral) by name."""
        moment = None if kept is None else datetime.fromtimestamp(kept.kept_at, UTC).isoformat(timespec="milliseconds")
        return cls(
            weights={} if kept is None else dict(kept.weights),
            defaults=dict(defaults),
            idle=list(idle),
            bounds={name: BoundsOut(lowest=b[0], highest=b[1], neutral=b[2]) for name, b in bounds.items()},
            evidence={} if kept is None else dict(kept.evidence),
            kept_at=None if moment is None else moment.replace("+00:00", "Z"),
        )
