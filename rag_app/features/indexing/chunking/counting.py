"""Tokens of lines, counted by the model's own tokenizer for many files at once."""

from collections.abc import Iterable, Sequence

# A line longer than the first is counted, and if need be cut, in pieces of at most the second.
WHOLE_CHARS = 400
SEGMENT_CHARS = 100


def segments(line: str) -> list[str]:
    """An ordinary line as it is; a long one in pieces, cut at spaces where there are any. Joined they are the line."""
    if len(line) <= WHOLE_CHARS:
        return [line]
    pieces = []
    while len(line) > SEGMENT_CHARS:
        cut = line.rfind(" ", SEGMENT_CHARS // 2, SEGMENT_CHARS) + 1 or SEGMENT_CHARS
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line]


class TokenCounts:
    """Known counts by text. Lines repeat (closing braces, returns), so a third of a source tree is known already."""

    # About 50 MB of lines a generation. The generation before is kept: a file in hand still needs its counts.
    MAX_KNOWN = 250_000

    def __init__(self, newline_tokens: int = 0):
        """newline_tokens: what a line break costs; 0 for WordPiece, to which it is white space."""
        self._known: dict[str, int] = {}
        self._older: dict[str, int] = {}
        self._newline_tokens = newline_tokens

    def unknown(self, lines: Iterable[str]) -> list[str]:
        """Distinct texts that must be counted before of() is asked about these lines."""
        wanted = dict.fromkeys(piece for line in lines for piece in segments(line))
        return [piece for piece in wanted if piece not in self._known and piece.strip()]

    def learn(self, texts: Sequence[str], counts: Sequence[int]) -> None:
        """Keep counts."""
        if len(self._known) > self.MAX_KNOWN:
            self._older, self._known = self._known, {}
        self._known.update(zip(texts, counts, strict=True))

    def of(self, line: str) -> int:
        """Tokens of a line with its line break; an upper bound where the line was counted in pieces."""
        return self._newline_tokens + sum(self.of_segment(piece) for piece in segments(line))

    def of_segment(self, piece: str) -> int:
        """Tokens of one piece of segments()."""
        if not piece.strip():
            return 0
        known = self._known.get(piece)
        return self._older[piece] if known is None else known
