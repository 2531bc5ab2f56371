"""A hit ends where its function ends, and its lines are still the file's."""

import pytest

from rag_app.core.models import Chunk, Span
from rag_app.features.search.shown import shown


def chunk(text: str, start_line: int = 10) -> Chunk:
    span = Span("a.py", start_line, start_line + text.count("\n"))
    return Chunk("id", "r", "base", "b", span, "python", "function", "f", "f", text)


@pytest.mark.parametrize(
    ("text", "lines", "left"),
    [
        ("def f():\n    pass", (10, 11), "def f():\n    pass"),
        ("def f():\n    pass\n\n", (10, 11), "def f():\n    pass"),
        ("\n   \ndef f():\n    pass\n\t\n", (12, 13), "def f():\n    pass"),
        ("def f():\r\n\r\n    pass\r\n\r", (10, 12), "def f():\r\n\r\n    pass\r"),
        ("\n\n", (10, 12), "\n\n"),
        ("", (10, 10), ""),
    ],
)
def test_blank_ends_are_not_shown(text: str, lines: tuple[int, int], left: str) -> None:
    found = shown(chunk(text))
    assert (found.span.start_line, found.span.end_line) == lines
    assert found.text == left
