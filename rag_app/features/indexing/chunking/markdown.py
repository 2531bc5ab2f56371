"""Markdown by its headings."""

import re
from collections.abc import Sequence

from rag_app.features.indexing.chunking.outline import MAX_HEADER_CHARS, Definition

_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_UNDERLINE = re.compile(r"^ {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")


def sections(lines: Sequence[str]) -> tuple[Definition, ...]:
    """Sections, each from its heading to the next of its level or above, with the deeper ones in it.

    lines: of the file, without their newlines. Headings inside fenced code are not headings.
    """
    headings = list(_headings(lines))
    return _nest(headings, len(lines))


def _headings(lines: Sequence[str]) -> Sequence[tuple[int, int, str]]:
    """(level, line, title) of each heading, in order."""
    found: list[tuple[int, int, str]] = []
    fence = ""
    for number, line in enumerate((line.rstrip("\r") for line in lines), start=1):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark.group(1)
        elif mark and mark.group(1)[0] == fence[0] and len(mark.group(1)) >= len(fence):
            fence = ""
        elif not fence and (heading := _HEADING.match(line)):
            found.append((len(heading.group(1)), number, heading.group(2)))
        elif not fence and (under := _UNDERLINE.match(line)) and _is_title(lines, number - 1, found):
            found.append((1 if "=" in under.group(1) else 2, number - 1, lines[number - 2].strip()))
    return found


def _is_title(lines: Sequence[str], number: int, found: Sequence[tuple[int, int, str]]) -> bool:
    """Whether line `number` may be underlined: a lone line of text that is no heading, list, quote or table itself."""
    if number < 1 or not lines[number - 1].strip() or re.match(r"\s*([-*+>|]|\d+[.)]\s|---)", lines[number - 1]):
        return False
    alone = number == 1 or not lines[number - 2].strip()
    return alone and not (found and found[-1][1] == number)


def _nest(headings: Sequence[tuple[int, int, str]], last: int) -> tuple[Definition, ...]:
    top: list[Definition] = []
    position = 0
    while position < len(headings):
        level, line, title = headings[position]
        following = position + 1
        while following < len(headings) and headings[following][0] > level:
            following += 1
        end = headings[following][1] - 1 if following < len(headings) else last
        children = _nest(headings[position + 1 : following], end)
        top.append(Definition("section", title[:MAX_HEADER_CHARS], line, end, children=children))
        position = following
    return tuple(top)
