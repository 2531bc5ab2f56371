"""What a query is narrowed to, as Qdrant's conditions."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from qdrant_client import models


@dataclass(frozen=True, slots=True)
class Selection:
    """Chunks of these layers of these repositories; an empty tuple of the others narrows nothing.

    languages: as stored, lower-case. folders ("src/", with the slash) and paths are alternatives of each other. names:
    symbols or ends of qualified names, any case. name_prefix: how one of a chunk's names begins. is_whole: the
    repositories are all that there are, as far as the manifest knows; a hint, which makes no difference to what comes.
    """

    repositories: frozenset[str]
    layers: frozenset[str]
    languages: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    name_prefix: str = ""
    is_whole: bool = False


def condition(selection: Selection, *, of_any_repository: bool = False) -> models.Filter:
    """Exact conditions on indexed keywords: nothing that matches is left out, nothing else comes in.

    of_any_repository: all but the repositories, which the caller then looks at in what was found.
    """
    must: list[models.Condition] = [any_of("layer", selection.layers)]
    if not of_any_repository:
        must.insert(0, any_of("repository", selection.repositories))
    if selection.languages:
        must.append(any_of("language", selection.languages))
    places = [any_of(key, values) for key, values in _places(selection) if values]
    if places:
        must.append(models.Filter(should=list[models.Condition](places)))
    if selection.names:
        must.append(any_of("names", (name.lower() for name in selection.names)))
    if selection.name_prefix:
        prefix = models.MatchPrefix(prefix=selection.name_prefix.lower())
        must.append(models.FieldCondition(key="names", match=prefix))
    return models.Filter(must=must)


def blobs(repository: str, layer: str, keys: Collection[tuple[str, str]]) -> models.Filter:
    """The chunks of (path, blob) pairs in one layer."""
    pairs: list[models.Condition] = [
        models.Filter(must=[any_of("path", [path]), any_of("blob", [blob])]) for path, blob in keys
    ]
    return models.Filter(must=[any_of("repository", [repository]), any_of("layer", [layer])], should=pairs)


def any_of(key: str, values: Iterable[str]) -> models.FieldCondition:
    """key is one of `values`; sorted, so that equal queries are equal on the wire.

    One value is told as that: over 26,000 chunks Edge takes 0.2 CPU-ms to search by it, and 0.8 as a list of one.
    """
    listed = sorted(values)
    match = models.MatchValue(value=listed[0]) if len(listed) == 1 else models.MatchAny(any=listed)
    return models.FieldCondition(key=key, match=match)


def folders_of(path: str) -> list[str]:
    """Every folder that holds a path, with a slash at the end: "a/b/c.py" -> ["a/", "a/b/"]."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) + "/" for depth in range(len(parts))]


def names_of(symbol: str, qualified_name: str) -> list[str]:
    """What a chunk is called, lower-case: its symbol and every end of its qualified name ("b.c" of "a.b.c")."""
    parts = qualified_name.lower().split(".")
    ends = {".".join(parts[i:]) for i in range(len(parts))}
    return sorted((ends | {symbol.lower()}) - {""})


def _places(selection: Selection) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("folders", selection.folders), ("path", selection.paths)
