"""Points from Edge to the wire, as plain values that JSON can hold."""

from typing import Any

import qdrant_edge as edge


def scored(point: edge.ScoredPoint) -> dict[str, Any]:
    """A hit in the shape of models.ScoredPoint; payload and vector only where they were asked for."""
    found: dict[str, Any] = {"id": point.id, "version": point.version, "score": point.score}
    return _with_content(found, point)


def record(point: edge.Record) -> dict[str, Any]:
    """A stored point in the shape of models.Record."""
    return _with_content({"id": point.id}, point)


def _with_content(found: dict[str, Any], point: edge.ScoredPoint | edge.Record) -> dict[str, Any]:
    if (payload := point.payload) is not None:
        found["payload"] = payload
    if (vector := point.vector) is not None:
        found["vector"] = _vectors(vector)
    return found


def _vectors(vector: Any) -> Any:
    if not isinstance(vector, dict):
        return vector
    named = {name: _vector(value) for name, value in vector.items()}
    # Qdrant shows a point's only, unnamed vector bare.
    return named[""] if named.keys() == {""} else named


def _vector(value: Any) -> Any:
    if isinstance(value, edge.SparseVector):
        return {"indices": value.indices, "values": value.values}
    return value
