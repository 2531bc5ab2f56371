"""The service by itself: it starts, says how it is, is measured, and keeps what it was given."""

import importlib.metadata
from pathlib import Path

import httpx
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.common.version_check import get_server_version, is_compatible

from service_kit.errors import Conflict
from tests.support.live import live
from tests.vector_db.conftest import settings
from vector_db.engine.database import Database
from vector_db.main import create_app


def test_it_is_alive_and_ready_with_nothing_else_running(http: httpx.Client, folder: Path) -> None:
    assert http.get("/healthz").json() == {"status": "alive"}
    assert http.get("/livez").text == "alive"
    ready = http.get("/readyz")
    assert ready.status_code == 200
    [check] = ready.json()["checks"]
    assert check["name"] == "store"
    assert check["detail"] == f"1 collections in {folder}"


def test_it_tells_a_version_that_the_installed_client_finds_compatible(http: httpx.Client, url: str) -> None:
    assert http.get("/").json() == {"title": "qdrant - vector search engine", "version": "1.20.0", "commit": None}
    told = get_server_version(url, {}, None, None)
    assert is_compatible(importlib.metadata.version("qdrant-client"), told)


def test_requests_are_counted_by_route_and_failures_by_word(http: httpx.Client) -> None:
    http.post("/collections/code/points/count", json={})
    http.post("/collections/nowhere/points/count", json={})
    metrics = http.get("/metrics").text
    assert 'route="/collections/{name}/points/count",status="200"' in metrics
    assert 'errors_total{code="not_found"}' in metrics


def test_the_routes_are_documented(http: httpx.Client) -> None:
    routes = http.get("/openapi.json").json()["paths"]
    assert "put" in routes["/collections/{name}/points"]
    body = routes["/collections/{name}/points/query"]["post"]["requestBody"]["content"]["application/json"]
    assert "QueryRequest" in body["schema"]["description"]
    union = routes["/collections/{name}/points"]["put"]["requestBody"]["content"]["application/json"]
    assert "PointsBatch | PointsList" in union["schema"]["description"]


def test_an_unknown_route_is_refused_in_qdrants_envelope(http: httpx.Client) -> None:
    response = http.post("/collections/code/points/recommend", json={})
    assert response.status_code in {404, 405}
    assert "recommend" in response.json()["status"]["error"]


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    with live(create_app(settings(tmp_path))) as url:
        client = QdrantClient(url=url)
        client.create_collection(
            "code",
            models.VectorParams(size=2, distance=models.Distance.DOT),
            sparse_vectors_config={"sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)},
            hnsw_config=models.HnswConfigDiff(m=8),
            metadata={"schema": 3},
        )
        for field, schema in SCHEMAS.items():
            client.create_payload_index("code", field, schema)
        client.delete_payload_index("code", "dropped")
        create = models.CreateAlias(collection_name="code", alias_name="latest")
        client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
        payload = {"a": 1, "words": "the lock is taken here", "path": "src/a.py"}
        client.upsert("latest", [models.PointStruct(id=1, vector=[1.0, 2.0], payload=payload)])
        before = client.get_collection("code")
    with live(create_app(settings(tmp_path))) as url:
        client = QdrantClient(url=url)
        after = client.get_collection("latest")
        assert after == before
        assert after.config.metadata == {"schema": 3}
        assert after.config.hnsw_config.m == 8
        assert after.payload_schema.keys() == SCHEMAS.keys() - {"dropped"}
        assert after.payload_schema["words"].points == 1
        words = models.FieldCondition(key="words", match=models.MatchText(text="lock taken"))
        assert client.count("latest", models.Filter(must=[words])).count == 1
        absent = models.FieldCondition(key="words", match=models.MatchText(text="unlocked"))
        assert client.count("latest", models.Filter(must=[absent])).count == 0


SCHEMAS = {
    "dropped": models.PayloadSchemaType.KEYWORD,
    "kind": models.PayloadSchemaType.KEYWORD,
    "line": models.PayloadSchemaType.INTEGER,
    "weight": models.PayloadSchemaType.FLOAT,
    "flag": models.PayloadSchemaType.BOOL,
    "moment": models.PayloadSchemaType.DATETIME,
    "key": models.PayloadSchemaType.UUID,
    "plain": models.PayloadSchemaType.TEXT,
    "words": models.TextIndexParams(
        type=models.TextIndexType.TEXT, tokenizer=models.TokenizerType.WORD, lowercase=True, phrase_matching=True
    ),
    "path": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, prefix=True),
}


def test_text_phrase_substring_and_datetime_conditions_narrow_a_count(client: QdrantClient) -> None:
    client.create_payload_index("code", "words", SCHEMAS["words"])
    rows = [("the lock is taken", "2026-01-01T00:00:00Z"), ("taken is the lock", "2026-06-01T00:00:00Z")]
    client.upsert(
        "code",
        [
            models.PointStruct(id=i, vector={"dense": [1.0, i, 0.0, 0.0]}, payload={"words": words, "at": at})
            for i, (words, at) in enumerate(rows)
        ],
    )

    def count(key: str, match: models.Match | None = None, range_: models.DatetimeRange | None = None) -> int:
        condition = models.FieldCondition(key=key, match=match, range=range_)
        return client.count("code", models.Filter(must=[condition])).count

    assert count("words", models.MatchPhrase(phrase="lock is")) == 1
    assert count("words", models.MatchTextAny(text_any="lock nothing")) == 2
    assert count("words", models.MatchText(text="lock nothing")) == 0
    assert count("words", models.MatchSubstring(substring="taken is")) == 1
    assert count("at", range_=models.DatetimeRange(gt="2026-03-01T00:00:00Z")) == 1
    assert count("at", range_=models.DatetimeRange(lt="2025-03-01T00:00:00Z")) == 0


def test_nested_conditions_hold_for_one_element_at_a_time(client: QdrantClient) -> None:
    parts = [{"kind": "a", "n": 1}, {"kind": "b", "n": 2}]
    client.upsert("code", [models.PointStruct(id=1, vector={}, payload={"parts": parts})])

    def count(kind: str, n: int) -> int:
        both = [
            models.FieldCondition(key="kind", match=models.MatchValue(value=kind)),
            models.FieldCondition(key="n", match=models.MatchValue(value=n)),
        ]
        nested = models.NestedCondition(nested=models.Nested(key="parts", filter=models.Filter(must=both)))
        return client.count("code", models.Filter(must=[nested])).count

    assert (count("a", 1), count("a", 2)) == (1, 0)


def test_the_folder_is_free_again_after_close_and_refused_before(tmp_path: Path) -> None:
    first, second = Database(tmp_path), Database(tmp_path)
    first.open()
    with pytest.raises(Conflict, match="in use by another vector_db"):
        second.store.open()
    first.close()
    second.open()
    second.close()


async def test_a_service_whose_folder_is_not_open_is_not_ready(tmp_path: Path) -> None:
    transport = httpx.ASGITransport(create_app(settings(tmp_path)))  # no lifespan: nothing was opened
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        response = await http.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"][0]["ok"] is False
