"""What vector_db does not have is refused by name: never ignored, and never taken for "everything matches"."""

from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient

POINTS = "/collections/code/points"
VECTOR = [1.0, 0.0, 0.0, 0.0]
GEO = {"center": {"lon": 0.0, "lat": 0.0}, "radius": 1.0}


def refused_by_name(response: httpx.Response, word: str) -> None:
    assert response.status_code == 422, response.text
    error = response.json()["status"]["error"]
    assert word in error
    assert "not supported by vector_db" in error
    assert "QDRANT_HOST" in error


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"query": {"recommend": {"positive": [1]}}}, "RecommendQuery"),
        ({"query": {"discover": {"target": 1, "context": []}}}, "DiscoverQuery"),
        ({"query": {"order_by": "n"}}, "OrderByQuery"),
        ({"query": {"sample": "random"}}, "SampleQuery"),
        ({"query": {"nearest": VECTOR, "mmr": {}}}, "mmr"),
        ({"query": {"text": "words", "model": "m"}}, "Document"),
        ({"query": [VECTOR]}, "multivector"),
        ({"query": VECTOR, "lookup_from": {"collection": "code"}}, "lookup_from"),
        ({"query": VECTOR, "shard_key": "a"}, "shard_key"),
        ({"query": VECTOR, "params": {"quantization": {"rescore": True}}}, "quantization"),
        ({"prefetch": {"query": VECTOR, "lookup_from": {"collection": "code"}}, "query": VECTOR}, "lookup_from"),
    ],
)
def test_a_query_of_another_kind_is_refused(filled: QdrantClient, http: httpx.Client, body: Any, word: str) -> None:
    refused_by_name(http.post(f"{POINTS}/query", json={"using": "dense", **body}), word)


@pytest.mark.parametrize(
    ("condition", "word"),
    [({"key": "n", "geo_radius": GEO}, "geo"), ({"slice": {"total": 2, "index": 0}}, "SliceCondition")],
)
@pytest.mark.parametrize("path", ["count", "query", "scroll", "delete"])
def test_a_condition_of_another_kind_is_refused_and_matches_nothing(
    filled: QdrantClient, http: httpx.Client, path: str, condition: Any, word: str
) -> None:
    refused_by_name(http.post(f"{POINTS}/{path}", json={"filter": {"must": [condition]}}), word)
    assert filled.count("code").count == 10


@pytest.mark.parametrize(
    "condition",
    [
        {"key": "n", "matches": {"value": 1}},
        {"key": "n"},
        {"key": "n", "match": {"glob": "*"}},
        {"key": "n", "match": {"value": 1.5}},
        {"key": "n", "match": {"value": 1}, "range": {"gt": 1}},
        {"no_such_condition": {}},
    ],
)
@pytest.mark.parametrize("path", ["count", "query", "scroll", "delete"])
def test_an_unknown_condition_is_refused_and_matches_nothing(
    filled: QdrantClient, http: httpx.Client, path: str, condition: Any
) -> None:
    response = http.post(f"{POINTS}/{path}", json={"filter": {"must": [condition]}})
    assert response.status_code == 422, response.text
    assert filled.count("code").count == 10


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"shard_number": 2}, "shard_number = 2"),
        ({"replication_factor": 3}, "replication_factor = 3"),
        ({"sharding_method": "custom"}, "custom sharding"),
        ({"quantization_config": {"scalar": {"type": "int8"}}}, "quantization_config"),
        ({"strict_mode_config": {"enabled": True}}, "strict_mode_config"),
        ({"vectors": {"size": 4, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}}, "multivector"),
        ({"vectors": {"size": 4, "distance": "Dot", "datatype": "uint8"}}, "uint8"),
        (
            {"vectors": {"size": 4, "distance": "Dot", "quantization_config": {"binary": {}}}},
            "quantization",
        ),
        ({"sparse_vectors": {"s": {"index": {"datatype": "float16"}}}}, "float16"),
    ],
)
def test_a_collection_of_another_kind_is_refused(http: httpx.Client, change: Any, word: str) -> None:
    body = {"vectors": {"size": 4, "distance": "Dot"}, **change}
    refused_by_name(http.put("/collections/other", json=body), word)
    assert http.get("/collections/other/exists").json()["result"]["exists"] is False


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"field_name": "place", "field_schema": "geo"}, "geo"),
        ({"field_name": "place", "field_schema": {"type": "geo"}}, "geo"),
        ({"field_name": "text", "field_schema": {"type": "text", "stopwords": "english"}}, "stopwords"),
        ({"field_name": "a[].b", "field_schema": {"type": "keyword", "nested": "a"}}, "nested"),
        ({"field_name": "a"}, "field_schema"),
    ],
)
def test_an_index_of_another_kind_is_refused(http: httpx.Client, body: Any, word: str) -> None:
    refused_by_name(http.put("/collections/code/index", json=body), word)
    assert http.get("/collections/code").json()["result"]["payload_schema"] == {}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"shard_key": "a"}, "shard_key"),
        ({"update_filter": {"must": [{"key": "n", "match": {"value": 1}}]}}, "update_filter"),
        ({"update_mode": "insert_only"}, "insert_only"),
    ],
)
def test_a_conditional_upsert_is_refused(http: httpx.Client, change: Any, word: str) -> None:
    body = {"points": [{"id": 1, "vector": {"dense": VECTOR}}], **change}
    refused_by_name(http.put(POINTS, json=body), word)


def test_scrolling_in_another_order_is_refused(http: httpx.Client) -> None:
    refused_by_name(http.post(f"{POINTS}/scroll", json={"order_by": "n"}), "order_by")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"query": {"fusion": "rrf"}}, "at least one prefetch"),
        ({"prefetch": [{"query": VECTOR, "using": "dense"}]}, "needed to merge"),
        (
            {"prefetch": [{"query": VECTOR, "using": "dense"}], "query": {"rrf": {"weights": [1.0, 0.9]}}},
            "2 weights, but there are 1",
        ),
        ({"prefetch": [{"query": VECTOR, "using": "dense"}], "query": {"rrf": {"k": 0}}}, "rrf.k"),
        ({"query": VECTOR, "using": "nothing"}, "'nothing'"),
        ({"query": VECTOR, "using": "dense", "with_vector": ["nothing"]}, "'nothing'"),
        ({"query": VECTOR[:3], "using": "dense"}, "expected dim: 4, got 3"),
    ],
)
def test_a_query_that_cannot_be_run_is_refused(filled: QdrantClient, http: httpx.Client, body: Any, word: str) -> None:
    response = http.post(f"{POINTS}/query", json=body)
    assert response.status_code in {400, 422}
    assert word in response.json()["status"]["error"]


def test_prefetches_nested_without_end_are_refused(filled: QdrantClient, http: httpx.Client) -> None:
    prefetch: dict[str, Any] = {"query": VECTOR, "using": "dense"}
    for _ in range(20):
        prefetch = {"prefetch": prefetch, "query": VECTOR, "using": "dense"}
    response = http.post(f"{POINTS}/query", json=prefetch)
    assert response.status_code == 422
    assert "16" in response.json()["status"]["error"]
