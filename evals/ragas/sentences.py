"""An answer as sentences, each with the passages that it cites. Pure: no judge, nothing of Ragas."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MARKER = re.compile(r"\[(\d{1,4})\]")
_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s")
_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+")
_QUOTE = re.compile(r"(?:\s*>)+\s?")
_CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)

# A sentence ends with its mark, what closes a quotation, and the markers that stand behind the full stop.
_END = re.compile(r"[.!?…。！？]+[\"'”’)*_]*(?:\s*\[\d{1,4}\])*(?=\s|$)")

# A full stop after one of these ends no sentence.
_SHORT = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|approx|resp|Fig|No)|\b[A-Z])\.$")


@dataclass(frozen=True, slots=True)
class Sentence:
    """text: without its markers. cites: the numbers of the passages that it names, each once, in their order."""

    text: str
    cites: tuple[int, ...]


def sentences(answer: str) -> list[Sentence]:
    """The sentences of a Markdown answer, in order.

    Fenced code and headings are none. A list's items are sentences of their own. Markers in backticks are code
    (`rows[1]`), and markers alone belong to the sentence before them.
    """
    found: list[Sentence] = []
    for paragraph in _paragraphs(answer):
        for text in _split(paragraph):
            sentence = _read(text)
            if _says_something(sentence.text):
                found.append(sentence)
            elif sentence.cites and found:
                found[-1] = Sentence(found[-1].text, _each_once((*found[-1].cites, *sentence.cites)))
    return found


def _paragraphs(answer: str) -> Iterator[str]:
    lines: list[str] = []
    fence = ""
    for line in answer.split("\n"):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        bare = _QUOTE.sub("", line, count=1) if line.lstrip().startswith(">") else line
        item = _ITEM.match(bare)
        if (mark or item or not bare.strip() or _HEADING.match(bare)) and lines:
            yield " ".join(lines)
            lines = []
        if mark:
            fence = mark[1]
        elif bare.strip() and not _HEADING.match(bare):
            lines.append((bare[item.end() :] if item else bare).strip())
    if lines:
        yield " ".join(lines)


def _split(paragraph: str) -> Iterator[str]:
    masked = _masked(paragraph)
    begin = 0
    for end in _END.finditer(masked):
        if _SHORT.search(masked[begin : end.start() + 1]):
            continue
        yield paragraph[begin : end.end()]
        begin = end.end()
    yield paragraph[begin:]


def _read(text: str) -> Sentence:
    masked = _masked(text)
    kept, begin, cites = [], 0, []
    for marker in _MARKER.finditer(masked):
        kept.append(text[begin : marker.start()].rstrip())
        cites.append(int(marker[1]))
        begin = marker.end()
    kept.append(text[begin:])
    return Sentence(re.sub(r"\s+", " ", "".join(kept)).strip(), _each_once(cites))


def _masked(text: str) -> str:
    """The same, as long, without what stands in backticks."""
    return _CODE.sub(lambda code: "x" * len(code[0]), text)


def _says_something(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _each_once(numbers: tuple[int, ...] | list[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(numbers))
