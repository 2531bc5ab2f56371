"""Lets an answer through piece by piece and keeps only the [n] that point to a passage of its prompt. Pure.

Markers may arrive torn over pieces; code, fenced or in backticks, passes untouched: `args[0]` is no citation.
"""

import re
from collections.abc import Collection

# "[1]", "[1, 3]", "[1-3]", "[^2]"; groups leave as "[1][3]", so that every marker a reader meets has one form.
_NUMBERS = r"\^?\d+(?:[ \t]*[-–][ \t]*\d+)?"
_MARKER = re.compile(rf"\[[ \t]*{_NUMBERS}(?:[ \t]*[,;][ \t]*{_NUMBERS})*[ \t]*\]")
_MARKER_BEGUN = re.compile(r"\[[\^\d \t,;–-]*")
_MARKER_BEGUN_AT_END = re.compile(_MARKER_BEGUN.pattern + r"\Z")
_NUMBER = re.compile(r"(\d+)(?:[ \t]*[-–][ \t]*(\d+))?")

_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})([^\n]*)\n?")
_FENCE_BEGUN = re.compile(r"[ \t]*(?:`*|~*)")
_PLAIN = re.compile(r"[^`\[\n]+")

# What is indexed rather than cited, where code stands outside of backticks: x[1], argv[1], self.items[1], and what
# follows an index, m[0][1]. Other words stay open to a citation: models write "the pool[1]" and "make_response[1]".
_INDEXED = re.compile(r"(?:(?<![\w.])[^\W\d]|(?<!\w)(?:args|argv)|(?<![\w.])(?:self|this|cls)(?:\.\w+)+)(?:\[\d+\])*\Z")
_INDEX = re.compile(r"\[\d+\]")

# As much as _INDEXED looks back.
_TAIL_CHARS = 80

# Numbers of more digits than this are no passage: they are dropped without being computed.
_MAX_DIGITS = 6


class CitationFilter:
    """Feed it the pieces of one answer, then close() it; what comes back, joined, is the answer to show."""

    def __init__(self, indexes: Collection[int]):
        """indexes: the n of the passages that were in the prompt."""
        self._indexes = sorted(indexes)
        self._pending = ""
        self._fence = ""  # what closes the open fence; "" outside of one
        self._at_line_start = True
        self._tail = ""  # the end of what was shown
        self._owed = ""  # the blanks before a marker that was removed, for the one that follows it
        self._open = ""  # a shown "[" and the digits after it, which a removal must not turn into a marker
        self._used: dict[int, None] = {}
        self.removed = 0

    @property
    def used(self) -> tuple[int, ...]:
        """The passages cited so far, in the order of first use."""
        return tuple(self._used)

    def feed(self, piece: str) -> str:
        """Take a piece in; returns what is certain by now (possibly nothing)."""
        self._pending += piece
        return self._drain(is_last=False)

    def close(self) -> str:
        """The rest. An inline code span or a fence that was never closed counts as one that ends here."""
        return self._drain(is_last=True)

    def _drain(self, is_last: bool) -> str:
        out: list[str] = []
        while self._pending:
            step = self._in_fence(is_last) if self._fence else self._in_prose(is_last)
            if step is None:
                break
            shown, length = step
            taken = self._pending[:length]
            self._at_line_start = taken.endswith("\n")
            self._pending = self._pending[length:]
            self._tail = (self._tail + shown)[-_TAIL_CHARS:]
            self._owed = self._owed if shown == "" else ""
            begun = _MARKER_BEGUN_AT_END.search(self._open + shown)
            self._open = begun[0] if begun else ""
            out.append(shown)
        return "".join(out)

    # Each step answers (text to show, characters consumed), or None where the next piece is needed to decide.

    def _in_fence(self, is_last: bool) -> tuple[str, int] | None:
        line, newline, _ = self._pending.partition("\n")
        if not newline and not is_last:
            return None
        bare = line.strip()
        if self._at_line_start and bare.startswith(self._fence) and not bare.strip(self._fence[0]):
            self._fence = ""
        return line + newline, len(line + newline)

    def _in_prose(self, is_last: bool) -> tuple[str, int] | None:
        text = self._pending
        if self._at_line_start:
            fence = _FENCE.match(text)
            if fence and (fence[1][0] == "~" or "`" not in fence[2]):
                return self._open_fence(fence, is_last)
            if not is_last and _FENCE_BEGUN.fullmatch(text):
                return None
        if text[0] == "`":
            return self._inline_code(is_last)
        if text[0] == "[":
            return self._marker(text, "", is_last)
        return self._plain(text, is_last)

    def _open_fence(self, fence: re.Match[str], is_last: bool) -> tuple[str, int] | None:
        if not fence[0].endswith("\n") and not is_last:
            return None
        self._fence = fence[1]
        return fence[0], len(fence[0])

    def _inline_code(self, is_last: bool) -> tuple[str, int] | None:
        text = self._pending
        ticks = len(text) - len(text.lstrip("`"))
        if ticks == len(text) and not is_last:
            return None
        line = text.partition("\n")[0]
        closing = re.compile(rf"(?<!`)`{{{ticks}}}(?!`)").search(line, ticks)
        if closing is None:
            # Unclosed on its line, so the backticks are literal, and a marker after them counts.
            return None if len(line) == len(text) and not is_last else (text[:ticks], ticks)
        if closing.end() == len(text) and not is_last:
            return None  # one more backtick would make it a longer run, which closes nothing
        return text[: closing.end()], closing.end()

    def _plain(self, text: str, is_last: bool) -> tuple[str, int] | None:
        if text[0] == "\n":
            return "\n", 1
        run = _PLAIN.match(text)
        assert run is not None
        words = run[0].rstrip(" ")
        blanks = run[0][len(words) :]
        if blanks and len(run[0]) < len(text) and text[len(run[0])] == "[":
            return (words, len(words)) if words else self._marker(text[len(blanks) :], blanks, is_last)
        if blanks and len(run[0]) == len(text) and not is_last:
            return (words, len(words)) if words else None
        return run[0], len(run[0])

    def _marker(self, text: str, blanks: str, is_last: bool) -> tuple[str, int] | None:
        """A "[" begins `text`; `blanks` stand before it and go with a marker that is removed."""
        found = _MARKER.match(text)
        if found is None:
            begun = _MARKER_BEGUN.match(text)
            if begun is not None and begun.end() == len(text) and not is_last:
                return None
            return blanks + "[", len(blanks) + 1
        consumed = len(blanks) + found.end()
        if not blanks and not self._owed and self._is_index(found[0]):
            return found[0], consumed
        kept = self._resolve(found[0])
        blanks = self._owed or blanks
        if not kept:
            self._owed = blanks
            return "?" if self._open else "", consumed  # "[[9]7]" must not become "[7]"
        if not blanks and _INDEXED.search(self._tail):
            blanks = " "  # "x[1, 2]" cites; "x[1][2]" would be read as an index
        return blanks + "".join(f"[{index}]" for index in kept), consumed

    def _is_index(self, marker: str) -> bool:
        last = self._tail[-1:]
        if marker == "[0]" and (last.isalnum() or last in ("_", ")", "]")):
            return True  # passages count from 1
        return _INDEX.fullmatch(marker) is not None and _INDEXED.search(self._tail) is not None

    def _resolve(self, marker: str) -> list[int]:
        kept: list[int] = []
        for first, last in _NUMBER.findall(marker):
            ends = [first, last or first]
            if any(len(end.lstrip("0")) > _MAX_DIGITS for end in ends):
                self.removed += 1
                continue
            low, high = sorted(int(end) for end in ends)
            valid = [index for index in self._indexes if low <= index <= high]
            self.removed += high - low + 1 - len(valid)
            kept += [index for index in valid if index not in kept]
        self._used.update(dict.fromkeys(kept))
        return kept
