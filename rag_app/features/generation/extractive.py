"""The answer without a language model: the best passages, their most telling lines, each cited. Pure."""

from collections.abc import Sequence

from rag_app.core.tokens import query_terms, terms
from rag_app.features.generation.passages import Passage
from rag_app.features.generation.preamble import is_preamble

# As many lines as a reader takes in at a glance: three long passages, or up to five where some are short, so that the
# head of a class does not take the place of the method that does the work.
LINES = 12
LINES_IN_ALL = 3 * LINES
PASSAGES = 5

LEAD = "No language model answered, so these are the passages that match the question best."
NOTHING = "Nothing relevant was found in the indexed code."
NOTHING_INDEXED = (
    "There is no indexed code to answer from yet: index a repository with `code-assistant index PATH` "
    "or POST /v1/repositories."
)


def extract(question: str, passages: Sequence[Passage]) -> str:
    """Markdown: for each of the best passages its name, its place, its marker and its lines nearest to the question.

    Imports and licence headers are shown only where there is nothing else.
    """
    wanted = query_terms(question)
    entries: list[str] = []
    room = LINES_IN_ALL
    for passage in [p for p in passages if not is_preamble(p.text)] or passages[:1]:
        first, excerpt = telling_lines(passage.text, wanted)
        room -= len(excerpt)
        if room < 0 or len(entries) == PASSAGES:
            break
        entries.append(_entry(passage, first, excerpt))
    return "\n\n".join([LEAD, *entries])


def _entry(passage: Passage, first: int, excerpt: Sequence[str]) -> str:
    span = passage.span
    # In backticks, where brackets of a path (pages/[1].tsx) are no citation.
    where = _in_backticks(f"{span.path}:{span.start_line}-{span.end_line}")
    heading = f"{_in_backticks(passage.qualified_name)} in {where}" if passage.qualified_name else where
    text = "\n".join(excerpt)
    fence = "```"
    while fence in text:
        fence += "`"
    begins = f", from line {span.start_line + first}" if first else ""
    return f"{heading} [{passage.index}]{begins}\n\n{fence}{passage.language}\n{text}\n{fence}"


def telling_lines(text: str, wanted: frozenset[str], count: int = LINES) -> tuple[int, list[str]]:
    """(offset of the first one, from 0; the lines): the `count` lines in a row that name most of the wanted terms.

    A term counts once in a window, so that one word repeated does not win over two said once. Ties go to the text's
    beginning, else to the last window, which begins where the terms do. Blank lines at its ends are left out.
    """
    lines = text.split("\n")
    found = [wanted.intersection(terms(line)) for line in lines]

    def worth(start: int) -> tuple[int, bool, int]:
        return len(frozenset().union(*found[start : start + count])), start == 0, start

    best = max(range(max(1, len(lines) - count + 1)), key=worth)
    chosen = list(enumerate(lines[best : best + count], start=best))
    said = [at for at, line in chosen if line.strip()] or [best]
    return said[0], lines[said[0] : said[-1] + 1]


def _in_backticks(text: str) -> str:
    plain = " ".join(text.split()).replace("`", "'")
    return f"`{plain}`"
