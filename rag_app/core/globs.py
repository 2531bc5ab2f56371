"""Globs whose matching takes time linear in a name's length, however many stars somebody writes."""

import re
from dataclasses import dataclass
from typing import Self

# A star, what must follow it, and the next star: where that follows first it may as well be, for the next star takes
# the rest. So the first place is the only one to be tried.
_BETWEEN_STARS = re.compile(r"\[\^/\]\*((?:\\.|\[(?!\^/\]\*)[^\]]*\]|[^\\\[()/])+)(?=\[\^/\]\*)")

_WILD = re.compile(r"(\*+|\?|\[[!^]?[^\]]+\])")
_RANGE = re.compile(r"(.)-(.)|(.)", re.DOTALL)


def linear(expression: str) -> str:
    """The regular expression of a glob, whose stars are `[^/]*`, such that they are not tried at every place.

    `*a*a*a*a*b` and a name of 200 letters held a whole process for 9 s.
    """
    return _BETWEEN_STARS.sub(r"(?>[^/]*?\1)", expression)


@dataclass(frozen=True, slots=True)
class Glob:
    """A glob for whole paths: * and ? stay within a folder, a part that is ** crosses any number of them."""

    text: str
    parts: tuple[re.Pattern[str] | None, ...]

    @classmethod
    def of(cls, text: str) -> Self:
        """A glob without a slash holds at any depth, one with a slash at its end for all below. ValueError: no glob."""
        whole = text if "/" in text.rstrip("/") else f"**/{text}"
        names = f"{whole}**".split("/") if whole.endswith("/") else whole.split("/")
        # Of several ** in a row one says it all; below a last one something must be.
        names = [name for at, name in enumerate(names) if name != "**" or names[at - 1 : at] != ["**"]]
        if names[-1] == "**":
            names.append("*")
        try:
            return cls(text, tuple(None if name == "**" else re.compile(_expression(name)) for name in names))
        except re.error as exc:
            raise ValueError(exc.msg) from exc

    def matches(self, path: str) -> bool:
        """Whether it takes a path. Only the last ** gives way, so that the cost is at most parts by folders."""
        names = path.split("/")
        at, part = 0, 0
        crossing: tuple[int, int] | None = None  # the last ** that was met, and the folder that it reaches to
        while at < len(names):
            wanted = self.parts[part] if part < len(self.parts) else _NOTHING
            if wanted is None:
                crossing, part = (part, at), part + 1
            elif wanted.fullmatch(names[at]):
                at, part = at + 1, part + 1
            elif crossing is not None:
                crossing = (crossing[0], crossing[1] + 1)
                part, at = crossing[0] + 1, crossing[1]
            else:
                return False
        return part == len(self.parts)


_NOTHING = re.compile(r"(?!)")


def _expression(name: str) -> str:
    return linear("".join(_piece(piece) for piece in _WILD.split(name)))


def _piece(piece: str) -> str:
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if not _WILD.fullmatch(piece):
        return re.escape(piece)
    is_negated = piece[1] in "!^" and len(piece) > len("[!]")
    members = "".join(_member(*match.groups()) for match in _RANGE.finditer(piece[2 if is_negated else 1 : -1]))
    return f"[^{members}]" if is_negated else f"[{members}]"


def _member(first: str | None, last: str | None, single: str | None) -> str:
    return re.escape(single) if single else f"{re.escape(first or '')}-{re.escape(last or '')}"
