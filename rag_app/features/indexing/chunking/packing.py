"""Where to cut lines that do not fit in one piece."""

import re
from collections.abc import Sequence

_INDENT = re.compile(r"[ \t]*")
_CLOSES = re.compile(r"\s*(?:[)\]}]|end\b|else\b|elif\b|except\b|finally\b|catch\b|case\b)")

# Costs of a cut, in steps of indentation: a piece may end half a window early to end at a better place.
_CLOSING_COST = 3.0
_BLANK_GAIN = 2.0
_SHORTNESS_COST = 6.0


def pack(lines: Sequence[str], tokens: Sequence[int], budget: int) -> list[tuple[int, int]]:
    """(first, past-last) indexes of consecutive pieces that cover `lines`, each of at most `budget` tokens.

    Cuts are before statements of little indentation, best after a blank line, never before a closing bracket where
    another place serves. A single line over the budget is a piece of its own.
    """
    pieces = []
    start = 0
    remaining = sum(tokens)
    while start < len(lines):
        # Pieces of about one size: a last piece of two lines would say nothing.
        wanted = remaining / -(-remaining // budget) if remaining > budget else budget
        end = _cut(lines, tokens, start, budget, wanted)
        pieces.append((start, end))
        remaining -= sum(tokens[start:end])
        start = end
    return pieces


def _cut(lines: Sequence[str], tokens: Sequence[int], start: int, budget: int, wanted: float) -> int:
    taken = 0
    best, best_cost = start + 1, float("inf")
    for end in range(start + 1, len(lines) + 1):
        taken += tokens[end - 1]
        if taken > budget:
            break
        if end == len(lines):
            return end
        cost = _cost(lines, end) + _SHORTNESS_COST * abs(taken - wanted) / budget
        if taken * 2 >= wanted and cost < best_cost:
            best, best_cost = end, cost
        elif best_cost == float("inf"):
            best = end
    return best


def _cost(lines: Sequence[str], before: int) -> float:
    """Of a cut before line `before`: less is better."""
    line = lines[before]
    if not line.strip():
        return 2.0  # blank lines end a piece rather than begin one
    indent = _INDENT.match(line)
    assert indent is not None
    steps = len(indent.group().expandtabs(4)) / 4
    closing = _CLOSING_COST if _CLOSES.match(line) else 0.0
    return min(steps, 8.0) + closing - (_BLANK_GAIN if not lines[before - 1].strip() else 0.0)
