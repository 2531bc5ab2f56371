"""A file in, its chunks out: parse(), count tokens, chunk(). Pure: the counting in between is the caller's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from rag_app.core.languages import language_of
from rag_app.features.indexing.chunking import fallback
from rag_app.features.indexing.chunking.counting import TokenCounts, segments
from rag_app.features.indexing.chunking.headers import fit_header, header_lines
from rag_app.features.indexing.chunking.languages import GRAMMARS
from rag_app.features.indexing.chunking.markdown import sections
from rag_app.features.indexing.chunking.outline import Definition, outline
from rag_app.features.indexing.chunking.packing import pack
from rag_app.features.indexing.chunking.units import Unit, partition

# Raise it when the same file would give other chunks: files are then chunked anew.
VERSION = 3

# Documents embedded with their special tokens: [CLS] and [SEP], or a BPE model's begin and end.
SPECIAL_TOKENS = 2


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A file's lines (without "\\n") and what they define."""

    path: str
    language: str
    lines: tuple[str, ...]
    definitions: tuple[Definition, ...]

    def countable(self) -> Iterator[str]:
        """Every line whose tokens chunk() will ask for."""
        yield from self.lines
        yield self.path
        pending: list[tuple[tuple[Definition, ...], tuple[Definition, ...]]] = [((), self.definitions)]
        while pending:
            above, definitions = pending.pop()
            for definition in definitions:
                inside = (*above, definition)
                yield from header_lines(self.path, inside)
                pending.append((inside, definition.children))


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk to be. `text`: the file's own lines; `embedded`: header and code, at most the window's tokens."""

    start_line: int
    end_line: int
    kind: str
    symbol: str
    qualified_name: str
    text: str
    embedded: str


def parse(path: str, text: str) -> ParsedFile:
    """Lines end with "\\n"; a "\\r" before it stays in its line."""
    lines = tuple(text.removesuffix("\n").split("\n")) if text else ()
    language = language_of(path, lines[0] if lines else "")
    definitions = sections(lines) if language == "markdown" else outline(text, language)
    return ParsedFile(path, language, lines, definitions)


def chunk(file: ParsedFile, counts: TokenCounts, window: int) -> list[Passage]:
    """The chunks of a file, in order; together they hold every line, each once.

    counts: knows file.countable(). window: the model's, special tokens included.
    """
    if not any(line.strip() for line in file.lines):
        return []
    return _Chunking(file, counts, window - SPECIAL_TOKENS).run()


class _Chunking:
    """One call of chunk()."""

    def __init__(self, file: ParsedFile, counts: TokenCounts, window: int):
        self._file = file
        self._counts = counts
        self._window = window
        self._tokens = [counts.of(line) for line in file.lines]
        self._before = list(accumulate(self._tokens, initial=0))

    def run(self) -> list[Passage]:
        return [passage for unit in self._units() for passage in self._passages(unit)]

    def _units(self) -> Sequence[Unit]:
        file = self._file
        if file.definitions or file.language in GRAMMARS:
            return partition(file.lines, file.definitions, self._count, self._fits)
        _, header = fit_header([file.path], self._counts.of, self._window)
        found = fallback.spans(file.lines, file.language, self._counts.of, self._window - header)
        return [Unit(start, end, "text") for start, end in found]

    def _count(self, start: int, end: int) -> int:
        return self._before[end] - self._before[start - 1]

    def _fits(self, unit: Unit) -> bool:
        _, header = self._header(unit)
        return self._count(unit.start, unit.end) + header <= self._window

    def _header(self, unit: Unit) -> tuple[list[str], int]:
        return fit_header(header_lines(self._file.path, unit.enclosing), self._counts.of, self._window)

    def _passages(self, unit: Unit) -> Iterator[Passage]:
        header, cost = self._header(unit)
        budget = self._window - cost
        lines = self._file.lines[unit.start - 1 : unit.end]
        for first, past in pack(lines, self._tokens[unit.start - 1 : unit.end], budget):
            yield self._passage(unit, unit.start + first, lines[first:past], header, budget)

    def _passage(self, unit: Unit, start: int, shown: Sequence[str], header: Sequence[str], budget: int) -> Passage:
        separator = " > " if unit.enclosing and unit.enclosing[-1].kind == "section" else "."
        qualified = separator.join(definition.name for definition in unit.enclosing if definition.name)
        symbol = unit.enclosing[-1].name if unit.enclosing else ""
        code = [line.rstrip("\r") for line in shown]
        if len(code) == 1 and self._tokens[start - 1] > budget:
            code = [self._cut(shown[0], budget)]
        return Passage(
            start_line=start,
            end_line=start + len(shown) - 1,
            kind=unit.kind,
            symbol=symbol if separator == " > " else symbol.rsplit(".", 1)[-1],
            qualified_name=qualified,
            text="\n".join(shown),
            embedded="\n".join([*header, *code]),
        )

    def _cut(self, line: str, budget: int) -> str:
        """As much of an overlong line as the window takes. Its chunk shows, and BM25 sees, all of it."""
        kept = ""
        for piece in segments(line):
            cost = self._counts.of_segment(piece)
            if cost > budget:
                # A byte-level tokenizer may take four tokens for one character.
                return kept + piece[: budget // 4]
            budget -= cost
            kept += piece
        return kept
