"""Whatever is wrong with a request is said in Qdrant's envelope, with the value and the limit, and harms nothing."""

from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient

GOOD = {"dense": [1.0, 0.0, 0.0, 0.0]}
POINTS = "/collections/code/points"


def refused(response: httpx.Response, status: int, *words: str) -> None:
    assert response.status_code == status, response.text
    body = response.json()
    assert body.keys() == {"status", "time"}
    for word in words:
        assert word in body["status"]["error"]


def upsert(http: httpx.Client, *points: dict[str, Any]) -> httpx.Response:
    return http.put(POINTS, json={"points": list(points)})


def test_a_body_that_is_not_json_is_refused(http: httpx.Client) -> None:
    refused(http.put(POINTS, content=b"{points"), 400, "Format error in JSON body")


def test_a_body_of_another_shape_is_refused_naming_the_field(http: httpx.Client) -> None:
    refused(http.post(f"{POINTS}/query", json={"limit": "ten"}), 422, "limit", "'ten'")


def test_a_body_over_the_limit_is_refused_with_both_sizes(http: httpx.Client) -> None:
    refused(http.put(POINTS, content=b" " * 300_000), 413, "300000", "200000")


@pytest.mark.parametrize(
    "id_", [-1, 2**64, "abc", "", "12", "e5607b69-2487-4235-bb73"], ids=["-1", "2^64", "abc", "empty", "12", "short"]
)
def test_a_point_id_that_is_neither_an_unsigned_integer_nor_a_uuid_is_refused(http: httpx.Client, id_: Any) -> None:
    response = upsert(http, {"id": id_, "vector": GOOD})
    refused(response, 422 if id_ == 2**64 else 400)
    assert http.post(f"{POINTS}/count", json={}).json()["result"]["count"] == 0


def test_the_largest_point_id_is_kept(http: httpx.Client) -> None:
    upsert(http, {"id": 2**64 - 1, "vector": GOOD}).raise_for_status()
    assert http.get(f"{POINTS}/{2**64 - 1}").json()["result"]["id"] == 2**64 - 1


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        ({"dense": [1.0, 2.0]}, ["expected dim: 4, got 2"]),
        ({"other": [1.0, 2.0, 3.0, 4.0]}, ["Not existing vector name error", "'other'", "'dense'"]),
        ([1.0, 2.0, 3.0, 4.0], ["Not existing vector name error: ''"]),
        ({"dense": {"indices": [1], "values": [1.0]}}, ["'dense' is dense"]),
        ({"sparse": [1.0, 2.0, 3.0, 4.0]}, ["'sparse' is sparse"]),
        ({"dense": [1e39, 0.0, 0.0, 0.0]}, ["no finite 32-bit float"]),
        ({"sparse": {"indices": [1], "values": [-1e39]}}, ["no finite 32-bit float"]),
    ],
)
def test_a_vector_that_is_not_for_this_collection_is_refused(http: httpx.Client, vector: Any, words: list[str]) -> None:
    refused(upsert(http, {"id": 1, "vector": GOOD}, {"id": 2, "vector": vector}), 400, *words)
    assert http.post(f"{POINTS}/count", json={}).json()["result"]["count"] == 0


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_nan_and_infinity_are_refused(http: httpx.Client, literal: str) -> None:
    body = '{"points": [{"id": 1, "vector": {"dense": [1, 0, 0, LITERAL]}}]}'.replace("LITERAL", literal)
    refused(http.put(POINTS, content=body), 400, "JSON")


@pytest.mark.parametrize(
    ("vector", "word"),
    [
        ({"indices": [1, 2], "values": [1.0]}, "2 indices, but 1 values"),
        ({"indices": [1, 1], "values": [1.0, 2.0]}, "unique"),
        ({"indices": [2**32], "values": [1.0]}, "4294967295"),
        ({"indices": [-1], "values": [1.0]}, "4294967295"),
    ],
)
def test_a_malformed_sparse_vector_is_refused(http: httpx.Client, vector: Any, word: str) -> None:
    refused(upsert(http, {"id": 1, "vector": {"sparse": vector}}), 422, word)


def test_an_empty_list_of_points_is_nothing_to_do(http: httpx.Client) -> None:
    refused(upsert(http), 400, "no points")


def test_a_batch_whose_columns_differ_in_length_is_refused(http: httpx.Client) -> None:
    batch = {"ids": [1, 2], "vectors": {"dense": [GOOD["dense"]]}}
    refused(http.put(POINTS, json={"batch": batch}), 422, "2 ids, but 1 vectors 'dense'")
    batch = {"ids": [1], "vectors": {"dense": [GOOD["dense"]]}, "payloads": [{}, {}]}
    refused(http.put(POINTS, json={"batch": batch}), 422, "1 ids, but 2 payloads")


def test_integers_are_taken_for_floats_in_a_vector(http: httpx.Client) -> None:
    upsert(http, {"id": 1, "vector": {"dense": [1, 0, 0, 0]}}).raise_for_status()
    found = http.post(f"{POINTS}/query", json={"query": [1, 0, 0, 0], "using": "dense"}).json()
    assert found["result"]["points"][0]["score"] == 1.0


@pytest.mark.parametrize("path", ["query", "scroll"])
@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_under_one_is_refused(http: httpx.Client, path: str, limit: int) -> None:
    refused(http.post(f"{POINTS}/{path}", json={"limit": limit}), 422, str(limit), "1 or larger")


def test_a_huge_limit_and_offset_answer_what_there_is(filled: QdrantClient, http: httpx.Client) -> None:
    body = {"query": [1, 0, 0, 0], "using": "dense", "limit": 2**62}
    assert len(http.post(f"{POINTS}/query", json=body).json()["result"]["points"]) == 10
    assert http.post(f"{POINTS}/query", json={**body, "offset": 2**62}).json()["result"]["points"] == []
    assert len(http.post(f"{POINTS}/scroll", json={"limit": 2**62}).json()["result"]["points"]) == 10
    refused(http.post(f"{POINTS}/query", json={**body, "offset": -1}), 422, "-1")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PUT", "/points"),
        ("POST", "/points"),
        ("POST", "/points/query"),
        ("POST", "/points/scroll"),
        ("POST", "/points/count"),
        ("POST", "/points/delete"),
        ("GET", "/points/1"),
        ("PUT", "/index"),
        ("DELETE", "/index/path"),
        ("GET", "/aliases"),
    ],
)
def test_an_unknown_collection_is_not_found(http: httpx.Client, method: str, path: str) -> None:
    bodies = {
        "/points": {"points": [{"id": 1, "vector": GOOD}]} if method == "PUT" else {"ids": [1]},
        "/points/delete": {"points": [1]},
        "/index": {"field_name": "path", "field_schema": "keyword"},
    }
    body = None if method in {"GET", "DELETE"} else bodies.get(path, {})
    refused(http.request(method, f"/collections/nowhere{path}", json=body), 404, "nowhere")


def test_a_point_that_is_not_there_is_not_found(http: httpx.Client) -> None:
    refused(http.get(f"{POINTS}/7"), 404, "7")
    refused(http.post(f"{POINTS}/query", json={"query": 7, "using": "dense"}), 404, "7")
    refused(http.get(f"{POINTS}/seven"), 400, "seven")


def test_nearest_to_a_point_that_lacks_the_vector_is_refused(filled: QdrantClient, http: httpx.Client) -> None:
    refused(http.post(f"{POINTS}/query", json={"query": 7, "using": "sparse"}), 400, "no vector 'sparse'")


@pytest.mark.parametrize(
    "name",
    ["..%2Fx", "..%2F..%2Fetc", "a%5Cb", "a%00b", "a:b", "a%3Fb", "x" * 256, "%2e%2e"],
)
def test_a_collection_name_that_qdrant_would_not_take_is_refused(http: httpx.Client, folder: Any, name: str) -> None:
    before = sorted(folder.parent.rglob("*"))
    response = http.put(f"/collections/{name}", json={"vectors": {"size": 4, "distance": "Dot"}})
    assert response.status_code in {404, 405, 422}
    assert sorted(folder.parent.rglob("*")) == before


def test_a_name_with_spaces_and_letters_of_any_script_is_a_name(http: httpx.Client) -> None:
    http.put("/collections/Mein Käfer 甲", json={"vectors": {"size": 4, "distance": "Dot"}}).raise_for_status()
    assert {"name": "Mein Käfer 甲"} in http.get("/collections").json()["result"]["collections"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "at least one vector"),
        ({"vectors": {"size": 0, "distance": "Dot"}}, "size 0"),
        ({"vectors": {"size": 70_000, "distance": "Dot"}}, "65536"),
        ({"vectors": {"size": 4, "distance": "Hamming"}}, "Hamming"),
        ({"vectors": {"a": {"size": 4, "distance": "Dot"}}, "sparse_vectors": {"a": {}}}, "share a name"),
    ],
)
def test_a_collection_that_makes_no_sense_is_refused(http: httpx.Client, body: Any, word: str) -> None:
    refused(http.put("/collections/odd", json=body), 422, word)
    assert http.get("/collections/odd/exists").json()["result"]["exists"] is False


def test_names_of_collections_and_aliases_do_not_collide(http: httpx.Client) -> None:
    def alias(name: str) -> httpx.Response:
        action = {"create_alias": {"collection_name": "code", "alias_name": name}}
        return http.post("/collections/aliases", json={"actions": [action]})

    refused(alias("code"), 409, "already exists")
    refused(alias("a/b"), 422, "'/'")
    alias("latest").raise_for_status()
    refused(http.put("/collections/latest", json={"vectors": {"size": 4, "distance": "Dot"}}), 409, "Alias")
    rename = {"rename_alias": {"old_alias_name": "nothing", "new_alias_name": "other"}}
    refused(http.post("/collections/aliases", json={"actions": [rename]}), 404, "nothing")
    rename = {"rename_alias": {"old_alias_name": "latest", "new_alias_name": "code"}}
    refused(http.post("/collections/aliases", json={"actions": [rename]}), 409, "already exists")


def nested(levels: int) -> dict[str, Any]:
    payload: dict[str, Any] = {"end": 1}
    for _ in range(levels - 1):
        payload = {"a": payload}
    return payload


@pytest.mark.parametrize("levels", [65, 130, 900])
def test_a_payload_too_deep_to_be_read_back_is_refused(http: httpx.Client, levels: int) -> None:
    response = upsert(http, {"id": 1, "vector": GOOD, "payload": nested(levels)})
    refused(response, 422, "64 levels")
    assert http.post(f"{POINTS}/count", json={}).json()["result"]["count"] == 0


def test_a_deep_payload_within_the_limit_is_read_back(http: httpx.Client) -> None:
    upsert(http, {"id": 1, "vector": GOOD, "payload": nested(64)}).raise_for_status()
    assert http.get(f"{POINTS}/1").json()["result"]["payload"] == nested(64)


@pytest.mark.parametrize("path", ["count", "delete", "query"])
def test_a_filter_nested_without_end_is_refused(filled: QdrantClient, http: httpx.Client, path: str) -> None:
    narrowed: dict[str, Any] = {"must": [{"key": "n", "match": {"value": 1}}]}
    for _ in range(40):
        narrowed = {"must_not": [narrowed]}
    refused(http.post(f"{POINTS}/{path}", json={"filter": narrowed}), 422, "32")
    assert filled.count("code").count == 10


def test_a_condition_with_impossible_numbers_or_keys_is_refused(http: httpx.Client) -> None:
    for condition in ({"key": "a[", "match": {"value": 1}}, {"key": "a", "values_count": {"gt": -1}}):
        refused(http.post(f"{POINTS}/count", json={"filter": {"must": [condition]}}), 400, "Wrong input")


def test_an_index_needs_a_fields_name(http: httpx.Client) -> None:
    refused(http.put("/collections/code/index", json={"field_name": "", "field_schema": "keyword"}), 422, "field_name")
