"""What speaks for a candidate beside its arms: its file's kind, its file's other chunks, its tests, its name. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rag_app.core.models import Chunk
from rag_app.features.search.paths import path_class, subject, version_folder
from rag_app.features.search.understanding import QueryKind, Understood
from rag_app.features.search.weights import Weights

# What the second and third best chunk of a file count for, of their own scores.
_NEXT_BEST = (0.5, 0.25)

File = tuple[str, str]


def file_of(chunk: Chunk) -> File:
    """A file of one repository."""
    return chunk.repository, chunk.span.path


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a query's candidates say of each other.

    coherence: what a file's next best chunks add. tests: how well the best test of a subject fits, by (repository,
    subject). newest: the greatest of the folders v1, v2 … that stand at one place, by (repository, what is before).
    """

    coherence: Mapping[File, float]
    tests: Mapping[tuple[str, str], float]
    newest: Mapping[tuple[str, str], int] = field(default_factory=dict)


def evidence(scored: Iterable[tuple[Chunk, float]]) -> Evidence:
    """Of all candidates with their fused scores, in any order."""
    of_file: dict[File, list[float]] = defaultdict(list)
    for chunk, score in scored:
        of_file[file_of(chunk)].append(score)
    tests: dict[tuple[str, str], float] = {}
    newest: dict[tuple[str, str], int] = {}
    coherence = {}
    for (repository, path), scores in of_file.items():
        scores.sort(reverse=True)
        coherence[repository, path] = sum(share * score for share, score in zip(_NEXT_BEST, scores[1:], strict=False))
        if path_class(path) == "test":
            tested = repository, subject(path)
            tests[tested] = max(tests.get(tested, 0.0), scores[0])
        if found := version_folder(path):
            place = repository, found[0]
            newest[place] = max(newest.get(place, 0), found[1])
    return Evidence(coherence, tests, newest)


def class_weight(chunk: Chunk, asked: Understood, weights: Weights) -> float:
    """1 for code and for what the query asks for, the weight of its class for the rest."""
    kind = path_class(chunk.span.path)
    return 1.0 if kind == "code" or kind in asked.classes else weights.of_class(kind, is_prose=asked.is_prose)


def file_weight(chunk: Chunk, asked: Understood, weights: Weights, told: Evidence) -> float:
    """The weight of the chunk's file: its class's, and no more than older code's where a later version is beside it."""
    weight = class_weight(chunk, asked, weights)
    found = version_folder(chunk.span.path)
    if found is None or found[1] == told.newest.get((chunk.repository, found[0])) or "deprecated" in asked.classes:
        return weight
    is_named = re.search(rf"(?i)\bv{found[1]}\b", asked.text)
    return weight if is_named else min(weight, weights.deprecated_weight)


def kind_weight(chunk: Chunk, asked: Understood, weights: Weights) -> float:
    """The weight of what the chunk is: for a sentence, code between definitions stands back."""
    return weights.block_weight if asked.is_prose and chunk.kind == "block" else 1.0


def file_boosts(chunk: Chunk, asked: Understood, weights: Weights, told: Evidence) -> dict[str, float]:
    """Name -> how far of the way to 1 a signal lifts each chunk of this one's file; those that speak for it only."""
    found = {"coherence_boost": weights.coherence_boost * told.coherence[file_of(chunk)]}
    if path_class(chunk.span.path) == "code":
        of_tests = told.tests.get((chunk.repository, subject(chunk.span.path)), 0.0)
        found["evidence_boost"] = weights.evidence_boost * of_tests
    if asked.paths:
        found["path_boost"] = weights.path_boost * any(is_path_of(path, chunk.span.path) for path in asked.paths)
    return {name: boost for name, boost in found.items() if boost}


# Chunk kinds that a query may ask for beside a name.
_KINDS = {
    **dict.fromkeys(("class", "struct", "interface", "trait", "enum"), ("class",)),
    **dict.fromkeys(("function", "method"), ("function", "method")),
}


def definitions(chunks: Iterable[Chunk], asked: Understood, weights: Weights) -> Mapping[str, float]:
    """Chunk id -> how far a definition is lifted whose name is the query; empty for other queries.

    One that fits less than another, since its name is in other letters (session for Session), its kind is another than
    the query says, or it is a later piece of a long one, gets half for each.
    """
    if asked.kind != QueryKind.SYMBOL or not weights.definition_boost:
        return {}
    called = [chunk for chunk in chunks if is_called(chunk, asked.names[0])]
    first: dict[tuple[File, str], int] = {}
    for chunk in called:
        key = file_of(chunk), chunk.qualified_name
        first[key] = min(first.get(key, chunk.span.start_line), chunk.span.start_line)
    written, kinds = set(re.findall(r"\w+", asked.text)), _KINDS.get(asked.wanted_kind, ())
    lifts = dict.fromkeys((chunk.id for chunk in called), weights.definition_boost)
    for fits in (
        [chunk.symbol in written for chunk in called],
        [chunk.kind in kinds for chunk in called],
        [chunk.span.start_line == first[file_of(chunk), chunk.qualified_name] for chunk in called],
    ):
        if any(fits):
            for chunk, fit in zip(called, fits, strict=True):
                lifts[chunk.id] *= 1 if fit else 0.5
    return lifts


def boosts(
    chunk: Chunk, asked: Understood, weights: Weights, of_file: Mapping[str, float], defined: Mapping[str, float]
) -> Mapping[str, float]:
    """What lifts this chunk: what lifts its file (as file_boosts gives it), that its name is what is asked for (as
    definitions gives it), and that it holds a line that is named."""
    found = of_file
    if chunk.id in defined:
        found = {**found, "definition_boost": defined[chunk.id]}
    if asked.lines and weights.line_boost and holds_a_line(chunk, asked.lines):
        found = {**found, "line_boost": weights.line_boost}
    return found


def holds_a_line(chunk: Chunk, lines: Iterable[tuple[str, int]]) -> bool:
    """Whether one of these lines, (path, line) as they were named, is in the chunk."""
    span = chunk.span
    return any(span.start_line <= line <= span.end_line and is_path_of(path, span.path) for path, line in lines)


def is_called(chunk: Chunk, name: str) -> bool:
    """Whether `name` (lower-case, dotted) is the chunk's symbol, its qualified name, or an end of that."""
    qualified = chunk.qualified_name.lower()
    return name in (chunk.symbol.lower(), qualified) or qualified.endswith(f".{name}")


def is_path_of(path: str, file: str) -> bool:
    """Whether a path that was named, of a file or a folder, is the file's: the whole, an end of it, or a folder."""
    own = f"/{file.lower()}"
    wanted = path.lower().strip("/")
    return own.endswith(f"/{wanted}") or f"/{wanted}/" in own
