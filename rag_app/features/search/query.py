"""What a search asks for, checked, and where it may look: values in, values out."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rag_app.core.globs import Glob
from rag_app.core.models import Filters, Scope, SearchQuery
from rag_app.core.settings import RagSettings
from rag_app.db.filters import Selection
from rag_app.db.records import RefState
from rag_app.features.search.languages import as_indexed
from rag_app.features.search.query_names import dotted
from rag_app.features.search.query_paths import names_file
from service_kit.errors import NotFound, ValidationFailed

_GLOB = re.compile(r"[*?\[]")

# Filters of a kind in one query: as many as a request may list.
MAX_TYPED = 50

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


def named_scope(scope: Scope, ids: Mapping[str, str], wanted: Sequence[str]) -> Scope:
    """The repositories of `scope` that `wanted` names, by id or by name, in any case. ids: name -> id, of the scope.

    NotFound for one that is unknown or not in scope: nobody learns which.
    """
    folded = {name.casefold(): identifier for name, identifier in ids.items()}
    found = {one: one if one in scope else ids.get(one) or folded.get(one.casefold()) for one in wanted}
    unknown = next((one for one, identifier in found.items() if identifier not in scope), None)
    if unknown is not None:
        raise NotFound(f"no repository {unknown[:200]!r} among those searched; GET /v1/repositories lists them")
    return scope & frozenset(found.values())


def joined(asked: Filters, typed: Filters) -> Filters | None:
    """The filters of a request and those that stand in its query, so that both hold; None where nothing can be both.

    `paths` are both lists: what holds of them is told by `within`. ValidationFailed for too many in the query, and for
    a language that is none.
    """
    for key, values in (("path", typed.paths), ("symbol", typed.symbols)):
        if len(values) > MAX_TYPED:
            raise ValidationFailed(f"the query has {len(values)} different {key}: filters; the limit is {MAX_TYPED}")
    languages = _common_languages(as_indexed(asked.languages), as_indexed(typed.languages))
    symbols = _common_symbols(_names(asked.symbols), typed.symbols)
    if languages is None or symbols is None:
        return None
    return Filters(languages, asked.paths + typed.paths, symbols, typed.repositories)


def _common_languages(asked: Sequence[str], typed: Sequence[str]) -> tuple[str, ...] | None:
    if not asked or not typed:
        return tuple(asked or typed)
    return tuple(language for language in typed if language in asked) or None


def _names(asked: Sequence[str]) -> tuple[str, ...]:
    """Each as a typed one is read, "Pool::close" as "pool.close", and as it is: the index may call it "save!"."""
    return tuple(dict.fromkeys(one for name in asked for one in (dotted(name) or name.lower(), name.lower())))


def _common_symbols(asked: Sequence[str], typed: Sequence[str]) -> tuple[str, ...] | None:
    """Of two names that one chunk has, one is the end of the other: "close" and "pool.close" are both the longer."""
    if not asked or not typed:
        return tuple(asked or typed)
    both = [
        max(one, other, key=len)
        for one in asked
        for other in typed
        if one == other or one.endswith(f".{other}") or other.endswith(f".{one}")
    ]
    return tuple(dict.fromkeys(both)) or None


@dataclass(frozen=True, slots=True)
class PathFilter:
    """Path filters sorted by what the index can answer: folders and exact paths, and globs, which need the paths.

    also: another filter that must take a path too.
    """

    plain: tuple[str, ...]
    globs: tuple[Glob, ...]
    also: "PathFilter | None" = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is narrowed."""
        return not self.plain and not self.globs

    @property
    def has_globs(self) -> bool:
        """Whether the paths must be known to tell what is taken."""
        return bool(self.globs) or (self.also is not None and self.also.has_globs)

    def matches(self, path: str) -> bool:
        """Whether any of the filters takes a path, and `also` does; an empty filter takes all."""
        if self.also is not None and not self.also.matches(path):
            return False
        if self.is_empty or any(_is_within(path, folder) for folder in self.plain):
            return True
        return any(glob.matches(path) for glob in self.globs)


def path_filter(paths: Sequence[str]) -> PathFilter:
    """Sort filters; "src", "src/", "/src" and "./src" are one folder, and also the file of that name; "." is the root.

    What looks like a file, "sessions.py" or "http/sessions.py", is also each file whose path ends so, and only the
    root's with a slash before it. ValidationFailed for a glob that cannot be read.
    """
    cleaned = [re.sub(r"^(\./|/|\.$)+", "", path.strip()) for path in paths]
    globs = tuple(_glob(path) for path in cleaned if _GLOB.search(path))
    globs += tuple(
        _glob(f"**/{path}")
        for path, written in zip(cleaned, paths, strict=True)
        if names_file(path) and not _GLOB.search(path) and not written.strip().startswith(("/", "./"))
    )
    plain = tuple(path.rstrip("/") for path in cleaned if not _GLOB.search(path))
    # "" or "/" is the root: everything.
    return PathFilter((), ()) if "" in plain else PathFilter(plain, globs)


def within(wide: PathFilter, narrow: PathFilter) -> PathFilter | None:
    """What both filters take; None where they are folders that have nothing in common."""
    if wide.is_empty or narrow.is_empty:
        return narrow if wide.is_empty else wide
    if wide.globs or narrow.globs:
        return replace(narrow, also=wide)
    inner = [one for one in narrow.plain if any(_is_within(one, other) for other in wide.plain)]
    outer = [one for one in wide.plain if any(_is_within(one, other) for other in narrow.plain)]
    common = tuple(dict.fromkeys(inner + outer))
    return PathFilter(common, ()) if common else None


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


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
        is_listed = len(matching) <= MAX_EXACT_PATHS
        # Of two filters `matching` is all that both take.
        plain = () if paths.also is not None and is_listed else paths.plain
        if paths.has_globs and not plain and not matching:
            return None
        exact, folders = plain, tuple(f"{path}/" for path in plain)
        if is_listed:
            exact += tuple(matching)
        else:
            # The superset that the index can answer: the folders before the first wildcard, or everything.
            heads = {_literal_folder(glob.text) for glob in paths.globs}
            exact, folders = ((), ()) if "" in heads else (exact, folders + tuple(sorted(heads)))
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
