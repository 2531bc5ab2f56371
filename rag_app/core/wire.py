"""Wire shapes and checks that features share: what a request is narrowed to, how a hit is told. Pydantic only."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rag_app.core.models import Filters, Hit, SearchMode, SearchQuery
from service_kit.errors import NothingToDo, ValidationFailed

# What a hit tells without being asked: how near in meaning and words. The rest comes with `explain`.
_TOLD = ("dense", "sparse", "sparse_share", "fused", "name")


# For the descriptions of what is searched for.
FILTERS_TOLD = (
    "Filters may stand in it: `lang:go`, `path:src/**/*.py`, `repo:name`, `symbol:Pool.close`; several of a kind are "
    "alternatives, and they hold with the request's own. In double quotes they are words."
)

# No longer than what they can equal: a path of the system, an id, a name. What is longer only costs.
Path = Annotated[str, Field(max_length=4_096)]
Name = Annotated[str, Field(max_length=500)]
Word = Annotated[str, Field(max_length=100)]


class Narrowed(BaseModel):
    """What to search in, and how. Unknown fields are refused: a filter with a typo fails, and is never ignored."""

    model_config = ConfigDict(extra="forbid")

    repositories: list[Word] | None = Field(
        None, description="Ids. Where left out, all that you may see but hidden ones, whose names begin with a dot."
    )
    ref: str | None = Field(
        None, max_length=250, description="Branch, tag or commit; each repository's default where left out."
    )
    languages: list[Word] = Field(
        default_factory=list, max_length=50, description="Such as python, c++ or md; an unknown one is refused."
    )
    paths: list[Path] = Field(
        default_factory=list, max_length=50, description="Folders, files or globs; any may match."
    )
    symbols: list[Name] = Field(
        default_factory=list,
        max_length=50,
        description="Names or qualified names, as `Pool.close` or `Pool::close`, any case.",
    )
    mode: SearchMode = Field("hybrid", description="hybrid, dense (meaning), sparse (words) or symbol (names).")
    limit: int = Field(10, description="Hits wanted.")

    def search_query(self, text: str) -> SearchQuery:
        """The search for `text` that is asked for, without its scope; text and limit still to be checked."""
        filters = Filters(tuple(self.languages), tuple(self.paths), tuple(self.symbols))
        is_scoped = self.repositories is not None
        return SearchQuery(text, self.ref, filters, self.mode, self.limit, is_scoped=is_scoped)


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


def checked_text(field: str, text: str, max_chars: int) -> str:
    """The text without blanks around it; NothingToDo where nothing is left, ValidationFailed where it is too long.

    field: what the message calls it, such as "query".
    """
    stripped = text.strip()
    if not stripped:
        raise NothingToDo(f"the {field} is blank; say what you want to find, to know or to have written")
    if len(stripped) > max_chars:
        raise ValidationFailed(
            f"the {field} has {len(stripped)} characters; the limit is {max_chars} (MAX_QUERY_CHARS)"
        )
    return stripped
