"""Filters from the wire to Edge. A condition that is not known here is refused: it must never match everything."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import qdrant_edge as edge
from qdrant_client.http import models

from service_kit.errors import ValidationFailed
from vector_db.core.errors import NotSupported
from vector_db.engine.points import edge_ids

# A delete by filter is kept in Edge's write-ahead log, which must be able to read it back.
MAX_FILTER_DEPTH = 32

_FIELD_PARTS = ("match", "range", "values_count", "is_empty", "is_null")
_GEO_PARTS = ("geo_bounding_box", "geo_radius", "geo_polygon")


def edge_filter(wire: models.Filter | None, depth: int = 1) -> edge.Filter | None:
    """Edge's form of a filter, None for none; fails with NotSupported or ValidationFailed. depth: of this filter."""
    if wire is None:
        return None
    if depth > MAX_FILTER_DEPTH:
        raise ValidationFailed(f"filters are nested deeper than {MAX_FILTER_DEPTH} levels")
    min_should = None
    if wire.min_should is not None:
        conditions = [_condition(part, depth) for part in wire.min_should.conditions]
        min_should = edge.MinShould(conditions, wire.min_should.min_count)
    return edge.Filter(
        must=_conditions(wire.must, depth),
        should=_conditions(wire.should, depth),
        must_not=_conditions(wire.must_not, depth),
        min_should=min_should,
    )


def _conditions(wire: Any, depth: int) -> list[Any] | None:
    if wire is None:
        return None
    parts: Sequence[Any] = wire if isinstance(wire, list) else [wire]
    return [_condition(part, depth) for part in parts]


def _condition(wire: Any, depth: int) -> Any:
    match wire:
        case models.FieldCondition():
            return _field(wire)
        case models.Filter():
            return edge_filter(wire, depth + 1)
        case models.HasIdCondition():
            return edge.HasIdCondition(set(edge_ids(wire.has_id)))
        case models.IsEmptyCondition():
            return edge.IsEmptyCondition(wire.is_empty.key)
        case models.IsNullCondition():
            return edge.IsNullCondition(wire.is_null.key)
        case models.HasVectorCondition():
            return edge.HasVectorCondition(wire.has_vector)
        case models.NestedCondition():
            nested = edge_filter(wire.nested.filter, depth + 1)
            assert nested is not None
            return edge.NestedCondition(wire.nested.key, nested)
        case _:
            raise NotSupported(f"filter condition {type(wire).__name__}")


def _field(wire: models.FieldCondition) -> edge.FieldCondition:
    if any(getattr(wire, part) is not None for part in _GEO_PARTS):
        raise NotSupported(f"a geo condition (on {wire.key!r})")
    given = [part for part in _FIELD_PARTS if getattr(wire, part) is not None]
    if len(given) != 1:
        # Qdrant takes several and uses one of them; here that is an error rather than a surprise.
        raise ValidationFailed(
            f"condition on {wire.key!r}: give exactly one of {', '.join(_FIELD_PARTS)}"
            f" (given: {', '.join(given) or 'none'})"
        )
    return edge.FieldCondition(
        wire.key,
        match=_match(wire.match) if wire.match is not None else None,
        range=_range(wire.range) if wire.range is not None else None,
        values_count=_values_count(wire.values_count) if wire.values_count is not None else None,
        is_empty=wire.is_empty,
        is_null=wire.is_null,
    )


def _match(wire: models.Match) -> Any:
    match wire:
        case models.MatchValue():
            # Edge takes Python's True for the integer 1, which matches no boolean; numpy's it takes for what it is.
            value: Any = np.bool_(wire.value) if isinstance(wire.value, bool) else wire.value
            return edge.MatchValue(value)
        case models.MatchAny():
            return edge.MatchAny(wire.any)
        case models.MatchExcept():
            return edge.MatchExcept(wire.except_)
        case models.MatchText():
            return edge.MatchText(wire.text)
        case models.MatchTextAny():
            return edge.MatchTextAny(wire.text_any)
        case models.MatchPhrase():
            return edge.MatchPhrase(wire.phrase)
        case models.MatchPrefix():
            return edge.MatchPrefix(wire.prefix)
        case models.MatchSubstring():
            return edge.MatchSubstring(wire.substring)


def _range(wire: models.Range | models.DatetimeRange) -> edge.RangeFloat | edge.RangeDateTime:
    if isinstance(wire, models.Range):
        return edge.RangeFloat(gte=wire.gte, gt=wire.gt, lte=wire.lte, lt=wire.lt)
    return edge.RangeDateTime(gte=_iso(wire.gte), gt=_iso(wire.gt), lte=_iso(wire.lte), lt=_iso(wire.lt))


def _iso(moment: datetime | date | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _values_count(wire: models.ValuesCount) -> edge.ValuesCount:
    return edge.ValuesCount(lt=wire.lt, gt=wire.gt, lte=wire.lte, gte=wire.gte)
