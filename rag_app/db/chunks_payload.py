"""A chunk as a point: its payload keys, its vectors' names, and the way back."""

from typing import Any

from qdrant_client import models

from rag_app.core.models import Chunk, EmbeddedChunk, Span
from rag_app.db.filters import folders_of, names_of

DENSE, SPARSE = "dense", "sparse"

# What ranking needs of a candidate; text is fetched for the final hits only.
LIGHT = [
    "repository",
    "layer",
    "path",
    "blob",
    "language",
    "kind",
    "symbol",
    "qualified_name",
    "start_line",
    "end_line",
]


def point_of(embedded: EmbeddedChunk) -> models.PointStruct:
    """The point that stores a chunk."""
    chunk = embedded.chunk
    payload: dict[str, Any] = {
        "repository": chunk.repository,
        "layer": chunk.layer,
        "path": chunk.span.path,
        "blob": chunk.blob,
        "language": chunk.language,
        "kind": chunk.kind,
        "symbol": chunk.symbol,
        "qualified_name": chunk.qualified_name,
        "start_line": chunk.span.start_line,
        "end_line": chunk.span.end_line,
        "text": chunk.text,
        "folders": folders_of(chunk.span.path),
        "names": names_of(chunk.symbol, chunk.qualified_name),
    }
    sparse = models.SparseVector(indices=list(embedded.sparse.indices), values=list(embedded.sparse.values))
    return models.PointStruct(id=chunk.id, payload=payload, vector={DENSE: list(embedded.dense), SPARSE: sparse})


def chunk_of(identifier: Any, payload: dict[str, Any] | None) -> Chunk:
    """The chunk that a point stores; its text is "" where the payload was asked for without it."""
    of = payload or {}
    return Chunk(
        id=str(identifier),
        repository=of["repository"],
        layer=of["layer"],
        blob=of["blob"],
        span=Span(of["path"], of["start_line"], of["end_line"]),
        language=of["language"],
        kind=of["kind"],
        symbol=of["symbol"],
        qualified_name=of["qualified_name"],
        text=of.get("text", ""),
    )
