"""The answer without a language model: the best passages, their most telling lines, each cited. Pure."""

from collections.abc import Sequence

from rag_app.core.tokens import terms
from rag_app.features.generation.passages import Passage

# As many as a reader takes in at a glance, and as many lines of each.
PASSAGES = 3
LINES = 12

LEAD = "No language model answered, so these are the passages that match the question best."
NOTHING = "Nothing relevant was found in the indexed code."


def extract(question: str, passages: Sequence[Passage]) -> str:
    """Markdown: for each of the best passages its name, its place, its marker and its lines nearest to the question."""
    wanted = frozenset(terms(question))
    return "\n\n".join([LEAD, *(_entry(passage, wanted) for passage in passages[:PASSAGES])])


def _entry(passage: Passage, wanted: frozenset[str]) -> str:
    span = passage.span
    # In backticks, where brackets of a path (pages/[1].tsx) are no citation.
    where = _in_backticks(f"{span.path}:{span.start_line}-{span.end_line}")
    heading = f"{_in_backticks(passage.qualified_name)} in {where}" if passage.qualified_name else where
    first, excerpt = telling_lines(passage.text, wanted)
    excerpt_text = "\n".join(excerpt)
    fence = "```"
    while fence in excerpt_text:
        fence += "`"
    lines = "" if len(excerpt) == passage.text.count("\n") + 1 else f", from line {span.start_line + first}"
    return f"{heading} [{passage.index}]{lines}\n\n{fence}{passage.language}\n{excerpt_text}\n{fence}"


def telling_lines(text: str, wanted: frozenset[str], count: int = LINES) -> tuple[int, list[str]]:
    """(offset of the first one, from 0; the lines): the `count` lines in a row that name most of the wanted terms.

    A term counts once in a window, so that one word repeated does not win over two said once. Ties go to the text's
    beginning, else to the last window, which begins where the terms do.
    """
    lines = text.split("\n")
    found = [wanted.intersection(terms(line)) for line in lines]

    def worth(start: int) -> tuple[int, bool, int]:
        return len(frozenset().union(*found[start : start + count])), start == 0, start

    best = max(range(max(1, len(lines) - count + 1)), key=worth)
    return best, lines[best : best + count]


def _in_backticks(text: str) -> str:
    plain = " ".join(text.split()).replace("`", "'")
    return f"`{plain}`"
