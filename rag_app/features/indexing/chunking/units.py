"""Which lines belong together: a partition of a file's lines along its definitions."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rag_app.features.indexing.chunking.outline import Definition

# A section whose whole is this small says more in one piece than in its parts: about ten lines. A class is never kept
# whole for that: its methods are to be found by their names.
SMALL_TOKENS = 80

# A line that only ends something says nothing of its own.
_CLOSING = re.compile(r"\W*(?:(?:end|fi|done|esac|endif|endfunction)\W*)?")


@dataclass(frozen=True, slots=True)
class Unit:
    """Consecutive lines (from 1, both ends included) of one sort.

    kind: as of a chunk. enclosing: the definitions that they are in, outermost first.
    """

    start: int
    end: int
    kind: str
    enclosing: tuple[Definition, ...] = ()


def partition(
    lines: Sequence[str],
    definitions: Sequence[Definition],
    tokens: Callable[[int, int], int],
    fits: Callable[[Unit], bool],
) -> list[Unit]:
    """Units that cover every line once, in order.

    tokens: of the lines start to end. fits: whether a unit goes into one chunk; a function that does stays whole.
    """
    raw = list(_cut(1, len(lines), (), definitions, tokens, fits))
    return _absorb_blank(raw, lines)


def _cut(
    start: int,
    end: int,
    enclosing: tuple[Definition, ...],
    children: Sequence[Definition],
    tokens: Callable[[int, int], int],
    fits: Callable[[Unit], bool],
) -> Iterator[Unit]:
    position = start
    for child in children:
        if position < child.start:
            yield Unit(position, child.start - 1, _own_kind(enclosing, position), enclosing)
        yield from _definition(child, enclosing, tokens, fits)
        position = child.end + 1
    if position <= end:
        yield Unit(position, end, _own_kind(enclosing, position), enclosing)


def _definition(
    definition: Definition,
    enclosing: tuple[Definition, ...],
    tokens: Callable[[int, int], int],
    fits: Callable[[Unit], bool],
) -> Iterator[Unit]:
    inside = (*enclosing, definition)
    whole = Unit(definition.start, definition.end, _kind(inside), inside)
    if not definition.children or _stays_whole(whole, tokens, fits):
        yield whole
    else:
        yield from _cut(definition.start, definition.end, inside, definition.children, tokens, fits)


def _stays_whole(unit: Unit, tokens: Callable[[int, int], int], fits: Callable[[Unit], bool]) -> bool:
    kind = unit.enclosing[-1].kind
    if kind == "function":
        return fits(unit)
    return kind == "section" and tokens(unit.start, unit.end) <= SMALL_TOKENS and fits(unit)


def _kind(enclosing: tuple[Definition, ...]) -> str:
    innermost = enclosing[-1]
    if innermost.kind == "function":
        owner = enclosing[-2].kind if len(enclosing) > 1 else ""
        # Go names the receiver's type in the method's own name.
        return "method" if owner == "class" or "." in innermost.name else "function"
    return "block" if innermost.kind == "scope" else innermost.kind


def _own_kind(enclosing: tuple[Definition, ...], position: int) -> str:
    """Lines of a definition outside of its children: its head is of its kind, the rest is code between definitions."""
    if not enclosing:
        return "block"
    is_head = position == enclosing[-1].start
    return _kind(enclosing) if is_head or enclosing[-1].kind in ("function", "section") else "block"


def _absorb_blank(units: Sequence[Unit], lines: Sequence[str]) -> list[Unit]:
    """Blank lines and such that only close (a brace, an `end`) are no unit: they go to the one before them."""
    kept: list[Unit] = []
    leading = 0
    for unit in units:
        if not all(_CLOSING.fullmatch(line) for line in lines[unit.start - 1 : unit.end]):
            kept.append(replace(unit, start=unit.start - leading) if leading else unit)
            leading = 0
        elif kept:
            kept[-1] = replace(kept[-1], end=unit.end)
        else:
            leading += unit.end - unit.start + 1
    return kept or list(units[:1] and [replace(units[0], end=units[-1].end)])
