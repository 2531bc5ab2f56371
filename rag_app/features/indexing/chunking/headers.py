"""What comes before the code in the embedded text: path, enclosing names, signature and documentation."""

from collections.abc import Callable, Sequence

from rag_app.features.indexing.chunking.outline import Definition

# The header says what the code is about; more than a third of the window would crowd the code out.
MAX_SHARE = 1 / 3


def header_lines(path: str, enclosing: Sequence[Definition]) -> list[str]:
    """The lines of a header, most telling first. enclosing: outermost first, the definition itself last."""
    if not enclosing:
        return [path]
    innermost = enclosing[-1]
    separator = " > " if innermost.kind == "section" else "."
    names = [definition.name for definition in enclosing if definition.name]
    lines = [path, separator.join(names), innermost.signature, innermost.doc]
    return [line for line in dict.fromkeys(lines) if line.strip()]


def fit_header(lines: Sequence[str], count: Callable[[str], int], window: int) -> tuple[list[str], int]:
    """As many of the lines, in order, as take at most their share of the window; and the tokens they take."""
    kept, taken = [], 0
    for line in lines:
        cost = count(line)
        if taken + cost <= window * MAX_SHARE:
            kept.append(line)
            taken += cost
    return kept, taken
