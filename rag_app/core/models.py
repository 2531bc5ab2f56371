"""The words of the product: chunk, hit, citation, and what a search asks and answers. Plain values, defined once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SearchMode = Literal["hybrid", "dense", "sparse", "symbol"]

# Ids of the repositories that a caller may read. Every method that reads takes one: without it is a type error.
Scope = frozenset[str]


@dataclass(frozen=True, slots=True)
class Span:
    """Lines of a file: `path` relative to the repository's root, with '/'; lines count from 1, both ends included."""

    path: str
    start_line: int
    end_line: int


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which embedding model made a vector. Vectors whose `hash` (hex) differs never mix.

    dim: length of its vectors; max_tokens: its window, special tokens included.
    """

    name: str
    dim: int
    max_tokens: int
    hash: str


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Weights by term id, as Qdrant takes them: ids are distinct and ascending, both tuples of one length."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of one blob at one path in one layer. `text` is the file's own lines, unchanged.

    id: a UUID derived from (repository, layer, path, blob, ordinal). blob: SHA-256 of the file's bytes, hex.
    kind: "function", "method", "class", "block" (code between definitions), "section" (Markdown) or "text".
    symbol, qualified_name: of the definition that it belongs to, e.g. "close" and "Pool.close"; "" where there is none.
    """

    id: str
    repository: str
    layer: str
    blob: str
    span: Span
    language: str
    kind: str
    symbol: str
    qualified_name: str
    text: str


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    """A chunk with what makes it findable. `dense`: (dim,) of length 1; `sparse`: term-frequency weights of BM25."""

    chunk: Chunk
    dense: tuple[float, ...]
    sparse: SparseVector


@dataclass(frozen=True, slots=True)
class Filters:
    """What a search is narrowed to; an empty tuple narrows nothing.

    paths: prefixes ("src/") or globs ("**/test_*.py"), any of which must match. symbols: names or qualified names.
    repositories: names or ids, within the scope.
    """

    languages: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """One search. `ref`: a branch, tag or commit; None is each repository's default. `limit`: hits wanted.

    `ranking`: other values for some of the ranking's weights, by name. `is_scoped`: the caller named repositories, so
    that hidden ones may be among those searched.
    """

    text: str
    ref: str | None = None
    filters: Filters = field(default_factory=Filters)
    mode: SearchMode = "hybrid"
    limit: int = 10
    ranking: Mapping[str, float] = field(default_factory=dict)
    is_scoped: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found. `score` is in [0, 1], higher is better; `scores` names what it was made of."""

    chunk: Chunk
    ref: str
    commit: str
    score: float
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Asked:
    """How a query was understood. `text` is what was searched; `weights` are the ranking's, by name.

    kind: "symbol", "path", "error", "code" or "words". weights_from: "default", "repository" or "request".
    """

    kind: str
    text: str
    filters: Filters
    weights: Mapping[str, float]
    weights_from: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, best first. `degraded` names the arms that could not be asked ("embedding"); `took_ms` is by stage."""

    hits: tuple[Hit, ...]
    degraded: tuple[str, ...]
    took_ms: Mapping[str, float]
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a statement of an answer comes from. `index` is the n of its [n]; `sha256` is of the quoted text, UTF-8."""

    index: int
    repository: str
    commit: str
    span: Span
    sha256: str
    url: str | None = None
