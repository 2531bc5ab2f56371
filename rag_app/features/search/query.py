"""What a search asks for, checked, and where it may look: values in, values out."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rag_app.core.globs import Glob
from rag_app.core.models import Filters, Scope, SearchQuery
from rag_app.core.settings import RagSettings
from rag_app.db.filters import Selection
from rag_app.db.records import RefState
from service_kit.errors import NotFound, ValidationFailed

_GLOB = re.compile(r"[*?\[]")

# One name, qualified or not: close, Pool.close, std::vector.
_NAME = re.compile(r"[^\W\d]\w*(?:(?:\.|::|#)[^\W\d]\w*)*(?:\(\))?")

# Paths that one request names exactly. A glob that matches more is narrowed to its folder there, and checked here.
MAX_EXACT_PATHS = 1_000


def checked_limit(query: SearchQuery, settings: RagSettings) -> SearchQuery:
    """The query itself; ValidationFailed where its limit is out of bounds."""
    if not 1 <= query.limit <= settings.max_limit:
        raise ValidationFailed(f"limit is {query.limit}; it may be 1 to {settings.max_limit} (MAX_LIMIT)")
    return query


def narrowed_scope(scope: Scope, wanted: Iterable[str] | None) -> Scope:
    """The repositories of `scope` that a caller asked for, all where None. Not yours is NotFound, like unknown."""
    if wanted is None:
        return scope
    asked = frozenset(wanted)
    unknown = sorted(asked - scope)
    if unknown:
        raise NotFound(f"no repository {unknown[0]!r}; GET /v1/repositories lists them")
    return asked


def symbol_asked(text: str) -> str:
    """The name, lower-case and dotted, where a query is one name and nothing else; "" where it is words."""
    match = _NAME.fullmatch(text)
    return re.sub(r"::|#", ".", text.removesuffix("()")).lower() if match else ""


@dataclass(frozen=True, slots=True)
class PathFilter:
    """Path filters sorted by what the index can answer: folders and exact paths, and globs, which need the paths."""

    plain: tuple[str, ...]
    globs: tuple[Glob, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is narrowed."""
        return not self.plain and not self.globs

    def matches(self, path: str) -> bool:
        """Whether any of the filters takes a path; an empty filter takes all."""
        if self.is_empty or any(path == p or path.startswith(f"{p}/") for p in self.plain):
            return True
        return any(glob.matches(path) for glob in self.globs)


def path_filter(paths: Sequence[str]) -> PathFilter:
    """Sort filters; "src", "src/", "/src" and "./src" are one folder, and also the file of that name.

    ValidationFailed for a glob that cannot be read.
    """
    cleaned = [re.sub(r"^(\./|/)+", "", path.strip()) for path in paths]
    globs = tuple(_glob(path) for path in cleaned if _GLOB.search(path))
    plain = tuple(path.rstrip("/") for path in cleaned if not _GLOB.search(path))
    # "" or "/" is the root: everything.
    return PathFilter((), ()) if "" in plain else PathFilter(plain, globs)


def _glob(text: str) -> Glob:
    try:
        return Glob.of(text)
    except ValueError as exc:
        raise ValidationFailed(f"paths: {text[:200]!r} is not a glob ({exc}); to mean '[' itself, write [[]") from exc


def selection_of(
    filters: Filters, states: Sequence[RefState], paths: PathFilter, matching: Sequence[str]
) -> Selection | None:
    """What the index is asked for; None where no path can match. matching: the indexed paths that a glob takes."""
    exact: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    if not paths.is_empty:
        exact, folders = paths.plain, tuple(f"{path}/" for path in paths.plain)
        if len(matching) <= MAX_EXACT_PATHS:
            exact += tuple(matching)
        else:
            # The superset that the index can answer: the folders before the first wildcard, or everything.
            heads = {_literal_folder(glob.text) for glob in paths.globs}
            exact, folders = ((), ()) if "" in heads else (exact, folders + tuple(sorted(heads)))
        if paths.globs and not paths.plain and not matching:
            return None
    return Selection(
        repositories=frozenset(state.repository for state in states),
        layers=frozenset(state.layer for state in states),
        languages=tuple(language.lower() for language in filters.languages),
        folders=folders,
        paths=exact,
        names=filters.symbols,
    )


def _literal_folder(glob: str) -> str:
    head = _GLOB.split(glob)[0]
    return head[: head.rfind("/") + 1]
