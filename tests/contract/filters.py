"""One filter of each kind that the product and its clients use."""

import uuid

from qdrant_client import models

from tests.contract.corpus import point_id


def _match(key: str, match: models.Match) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=match)


_PYTHON = _match("language", models.MatchValue(value="python"))
_REPOSITORY = _match("repository", models.MatchAny(any=["r0", "r2"]))
_EARLY = models.FieldCondition(key="start_line", range=models.Range(gte=30, lt=600))
_TEST = _match("is_test", models.MatchValue(value=True))

FILTERS = {
    "value": models.Filter(must=[_PYTHON]),
    "integer": models.Filter(must=[_match("meta.depth", models.MatchValue(value=3))]),
    "boolean": models.Filter(must=[_TEST]),
    "any": models.Filter(must=[_REPOSITORY]),
    "any-integer": models.Filter(must=[_match("meta.depth", models.MatchAny(any=[1, 2]))]),
    "except": models.Filter(must=[_match("language", models.MatchExcept(**{"except": ["go", "c"]}))]),
    "array": models.Filter(must=[_match("tags", models.MatchValue(value="t2"))]),
    "prefix": models.Filter(must=[_match("path", models.MatchPrefix(prefix="src/db/"))]),
    "range": models.Filter(must=[_EARLY]),
    "must": models.Filter(must=[_REPOSITORY, _PYTHON, _EARLY]),
    "should": models.Filter(should=[_PYTHON, _TEST]),
    "must_not": models.Filter(must_not=[_PYTHON, _TEST]),
    "all-three": models.Filter(must=[_REPOSITORY], should=[_PYTHON, _EARLY], must_not=[_TEST]),
    "nested-filter": models.Filter(must=[models.Filter(should=[_PYTHON, models.Filter(must_not=[_REPOSITORY])])]),
    "min_should": models.Filter(
        min_should=models.MinShould(conditions=[_PYTHON, _TEST, _REPOSITORY, _EARLY], min_count=3)
    ),
    "single": models.Filter(must=_PYTHON, must_not=_TEST),
    "empty": models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="symbol"))]),
    "null": models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="symbol"))]),
    "is_empty": models.Filter(must=[models.FieldCondition(key="symbol", is_empty=False)]),
    "ids": models.Filter(must=[models.HasIdCondition(has_id=[point_id(row) for row in range(20)])]),
    "uuid": models.Filter(must_not=[models.HasIdCondition(has_id=[uuid.UUID(str(point_id(1)))])]),
    "has_vector": models.Filter(must=[models.HasVectorCondition(has_vector="sparse")]),
    "values_count": models.Filter(must=[models.FieldCondition(key="tags", values_count=models.ValuesCount(gt=2))]),
}
