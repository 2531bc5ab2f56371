"""Points from the wire to Edge, checked first: what Edge would refuse must not reach its write-ahead log."""

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import qdrant_edge as edge
from qdrant_client.http import models

from service_kit.errors import NothingToDo, ValidationFailed
from vector_db.core.errors import NotSupported, WrongInput
from vector_db.engine.shapes import Shapes, refuse_set

PointId = int | str | UUID

MAX_INTEGER_ID = 2**64 - 1
MAX_SPARSE_INDEX = 2**32 - 1
# Edge stores a payload of any depth, and then cannot read the point (128 levels) or overflows its stack (1,000).
MAX_PAYLOAD_DEPTH = 64
MAX_FLOAT32 = 3.4028234663852886e38


def edge_point_id(value: PointId) -> PointId:
    """A point id as Edge takes it; fails with WrongInput where it is neither an unsigned integer nor a UUID."""
    if isinstance(value, int):
        if 0 <= value <= MAX_INTEGER_ID:
            return value
    else:
        try:
            return value if isinstance(value, UUID) else UUID(value)
        except ValueError:
            pass
    raise WrongInput(
        f"value {value!r} is not a valid point ID, valid values are either an unsigned 64-bit integer or a UUID"
    )


def edge_points(operation: models.PointInsertOperations, shapes: Shapes) -> list[edge.Point]:
    """The points of an upsert; fails with WrongInput, ValidationFailed, NotSupported or, for none, NothingToDo."""
    refuse_set(operation, ("shard_key", "update_filter"))
    if operation.update_mode not in {None, models.UpdateMode.UPSERT}:
        raise NotSupported(f"update_mode {operation.update_mode}")
    rows = _listed(operation) if isinstance(operation, models.PointsList) else _batched(operation.batch)
    points = [
        edge.Point(edge_point_id(id_), _vectors(vector, shapes), _shallow(payload)) for id_, vector, payload in rows
    ]
    if not points:
        raise NothingToDo("there are no points to upsert")
    return points


def _listed(operation: models.PointsList) -> Iterator[tuple[Any, Any, Any]]:
    return ((point.id, point.vector, point.payload) for point in operation.points)


def _batched(batch: models.Batch) -> Iterator[tuple[Any, Any, Any]]:
    columns = batch.vectors if isinstance(batch.vectors, dict) else {"": batch.vectors}
    payloads = batch.payloads or [{}] * len(batch.ids)
    for what, length in [("payloads", len(payloads)), *((f"vectors {n!r}", len(c)) for n, c in columns.items())]:
        if length != len(batch.ids):
            raise ValidationFailed(f"batch: {len(batch.ids)} ids, but {length} {what}; they must be as many")
    for row, id_ in enumerate(batch.ids):
        yield id_, {name: column[row] for name, column in columns.items()}, payloads[row]


def _shallow(payload: Any) -> Any:
    level = [payload or {}]
    for _ in range(MAX_PAYLOAD_DEPTH):
        children = (child for node in level for child in (node.values() if isinstance(node, dict) else node))
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return payload
    raise ValidationFailed(f"a payload is nested deeper than {MAX_PAYLOAD_DEPTH} levels")


def _vectors(struct: Any, shapes: Shapes) -> dict[str, Any]:
    named = struct if isinstance(struct, dict) else {"": struct}
    return {name: edge_vector(name, vector, shapes) for name, vector in named.items()}


def edge_vector(name: str, vector: Any, shapes: Shapes) -> list[float] | edge.SparseVector:
    """One vector as Edge takes it, for the vector called `name`; fails with WrongInput or NotSupported."""
    shapes.check_known(name)
    if isinstance(vector, models.SparseVector):
        if name not in shapes.sparse:
            raise WrongInput(f"Wrong input: vector {name!r} is dense, but a sparse vector was given")
        return _sparse(name, vector)
    if not isinstance(vector, list) or (vector and isinstance(vector[0], list)):
        kind = "a multivector" if isinstance(vector, list) else f"inference ({type(vector).__name__})"
        raise NotSupported(kind)
    if name in shapes.sparse:
        raise WrongInput(f"Wrong input: vector {name!r} is sparse, but a dense vector was given")
    if len(vector) != shapes.dense[name]:
        raise WrongInput(
            f"Wrong input: Vector dimension error: expected dim: {shapes.dense[name]}, got {len(vector)}"
            f" (vector {name!r})"
        )
    _check_finite(name, vector)
    return vector


def _sparse(name: str, vector: models.SparseVector) -> edge.SparseVector:
    if len(vector.indices) != len(vector.values):
        raise ValidationFailed(
            f"vector {name!r}: {len(vector.indices)} indices, but {len(vector.values)} values; they must be as many"
        )
    if vector.indices:
        if min(vector.indices) < 0 or max(vector.indices) > MAX_SPARSE_INDEX:
            raise ValidationFailed(f"vector {name!r}: an index is not within 0 and {MAX_SPARSE_INDEX}")
        if len(set(vector.indices)) != len(vector.indices):
            raise ValidationFailed(f"vector {name!r}: indices must be unique")
        _check_finite(name, vector.values)
    return edge.SparseVector(vector.indices, vector.values)


def _check_finite(name: str, values: list[float]) -> None:
    # NaN slips through min() and max(), the sum finds it: one pass each in C, about 10 µs for 384 values.
    total = sum(values)
    if total != total or max(values) > MAX_FLOAT32 or min(values) < -MAX_FLOAT32:
        raise WrongInput(f"Wrong input: vector {name!r} holds a value that is no finite 32-bit float (NaN or infinite)")


def edge_ids(ids: Iterable[PointId]) -> list[PointId]:
    """Point ids as Edge takes them."""
    return [edge_point_id(id_) for id_ in ids]
