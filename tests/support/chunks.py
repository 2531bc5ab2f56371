"""Chunks for tests, with the fields that a test does not care about filled in."""

import uuid

from rag_app.core.models import Chunk, Span


def make_chunk(
    path: str,
    text: str,
    *,
    repository: str = "r1",
    layer: str = "base",
    blob: str = "b1",
    language: str = "python",
    kind: str = "function",
    symbol: str = "",
    qualified_name: str = "",
    start_line: int = 1,
    end_line: int = 0,
) -> Chunk:
    """A chunk whose id follows from what it is, as in the product; its lines are counted from its text."""
    identifier = uuid.uuid5(uuid.NAMESPACE_URL, f"{repository}|{layer}|{path}|{blob}|{start_line}|{text}")
    span = Span(path, start_line, end_line or start_line + text.count("\n"))
    name = qualified_name or symbol
    return Chunk(str(identifier), repository, layer, blob, span, language, kind, symbol, name, text)
