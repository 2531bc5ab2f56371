"""What a search does where something is missing, down or wrong, and its route."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from rag_app.clients.embedding import ServiceEmbedder
from rag_app.core.models import SearchQuery
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from rag_app.features.search.router import search_router
from rag_app.features.search.service import SearchService
from rag_app.features.search.weights import Weights
from service_kit.app import create_service
from service_kit.errors import Conflict, NothingToDo, Unavailable, ValidationFailed
from service_kit.metrics import HttpMetrics
from tests.support.fake_tei import FakeTei
from tests.support.indexed import SmallIndex
from tests.support.live import free_port
from tests.support.pools import find, places, pool_chunks, service_over

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


async def test_nothing_indexed_and_an_empty_scope_find_nothing(index: SmallIndex) -> None:
    assert (await find(index, "lock", frozenset())).hits == ()
    index.repository("empty")
    assert (await find(index, "lock", frozenset({"unknown"}))).hits == ()


async def test_a_model_other_than_the_index_was_built_with_is_refused(
    index: SmallIndex, repository: str, tei: FakeTei
) -> None:
    tei.extra_info["identity"], before = "cd" * 16, tei.extra_info["identity"]
    try:
        other = ServiceEmbedder(RagSettings(_env_file=None, embedding_url=index.embedder._client._http._base_url))  # type: ignore[attr-defined]
        service = SearchService(index.store, index.manifest, other, RagSettings(_env_file=None))
        with pytest.raises(Conflict, match="another embedding model"):
            await service.search(SearchQuery("lock"), frozenset({repository}))
        await other.close()
    finally:
        tei.extra_info["identity"] = before


class TestFailures:
    async def test_without_the_embedding_service_words_answer_and_it_says_so(
        self, index: SmallIndex, repository: str
    ) -> None:
        down = ServiceEmbedder(RagSettings(_env_file=None, embedding_url=f"http://127.0.0.1:{free_port()}"))
        service = SearchService(index.store, index.manifest, down, RagSettings(_env_file=None))
        result = await service.search(SearchQuery("lock release"), frozenset({repository}))
        assert result.degraded == ("embedding",)
        assert places(result)[0] == "src/pool.py:1"
        with pytest.raises(Unavailable, match="mode 'dense' needs the embedding service") as caught:
            await service.search(SearchQuery("lock", mode="dense"), frozenset({repository}))
        assert caught.value.retry_after_s == 1
        assert (await service.search(SearchQuery("lock", mode="sparse"), frozenset({repository}))).degraded == ()
        assert (await service.search(SearchQuery("close", mode="symbol"), frozenset({repository}))).hits
        nothing = await service.search(SearchQuery("pancake"), frozenset({repository}))
        assert (nothing.hits, nothing.degraded) == ((), ("embedding",))
        await down.close()

    async def test_without_qdrant_search_is_unavailable(self, index: SmallIndex, repository: str) -> None:
        gone = ChunkStore(RagSettings(_env_file=None, qdrant_port=free_port()))
        service = SearchService(gone, index.manifest, index.embedder, RagSettings(_env_file=None))
        with pytest.raises(Unavailable, match="QDRANT_HOST") as caught:
            await service.search(SearchQuery("lock"), frozenset({repository}))
        assert caught.value.retry_after_s == 1
        await gone.close()

    @pytest.mark.parametrize(
        ("asked", "error"),
        [
            (SearchQuery(" "), NothingToDo),
            (SearchQuery("x" * 8001), ValidationFailed),
            (SearchQuery("x", limit=0), ValidationFailed),
            (SearchQuery("x", limit=101), ValidationFailed),
        ],
        ids=["blank", "long", "limit 0", "limit 101"],
    )
    async def test_bad_queries(self, index: SmallIndex, asked: SearchQuery, error: type[Exception]) -> None:
        with pytest.raises(error):
            await service_over(index).search(asked, frozenset({"r"}))


class TestRoute:
    @pytest.fixture
    async def http(self, index: SmallIndex) -> AsyncIterator[httpx.AsyncClient]:
        async def ready() -> list[Any]:
            return []

        app: FastAPI = create_service("rag", readiness=ready, metrics=HttpMetrics("rag"), max_body_bytes=1_000_000)
        app.include_router(search_router(service_over(index), index.manifest.all_ids, RagSettings(_env_file=None)))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://rag") as client:
            yield client

    async def test_the_shape_of_an_answer(self, http: httpx.AsyncClient, repository: str) -> None:
        body = {"query": "lock release", "repositories": [repository], "limit": 1, "languages": ["python"]}
        answer = (await http.post("/v1/search", json=body)).json()
        (hit,) = answer["hits"]
        assert set(answer) == {"hits", "degraded", "took_ms"}
        scores = hit.pop("scores")
        assert scores["fused"] <= hit.pop("score") <= 1
        assert set(scores) == {"dense", "sparse", "sparse_share", "fused"}
        assert hit == {
            "id": pool_chunks(repository)[0].id,
            "repository": repository,
            "ref": "main",
            "commit": "c0ffee",
            "path": "src/pool.py",
            "start_line": 1,
            "end_line": 2,
            "language": "python",
            "symbol": "Pool.close",
            "content": "def close(self):\n    self.lock.release()",
        }

    async def test_explain_tells_ranks_parts_and_weights(self, http: httpx.AsyncClient, repository: str) -> None:
        body = {"query": "lock release", "explain": True}
        answer = (await http.post("/v1/search", json=body)).json()
        hits, asked = answer["hits"], answer["query"]
        assert (asked["kind"], asked["text"], asked["weights_from"]) == ("words", "lock release", "default")
        assert asked["weights"]["test_weight"] == Weights().test_weight
        assert asked["filters"] == {"languages": [], "paths": [], "symbols": [], "repositories": []}
        assert {"dense_rank", "sparse_rank", "dense_part", "sparse_part", "path_weight"} <= set(hits[0]["scores"])
        of_test = next(hit for hit in hits if hit["path"].startswith("tests/"))
        assert of_test["scores"]["path_weight"] == Weights().test_weight
        assert of_test["score"] == pytest.approx(of_test["scores"]["fused"] * Weights().test_weight)

    @pytest.mark.usefixtures("repository")
    @pytest.mark.parametrize(
        ("body", "status", "code", "words"),
        [
            ({"query": ""}, 400, "empty", "blank"),
            ({"query": " \n"}, 400, "empty", "blank"),
            ({"query": "x" * 100_000}, 422, "validation", "100000 characters; the limit is 8000"),
            ({"query": "x", "limit": 0}, 422, "validation", "limit is 0; it may be 1 to 100"),
            ({"query": "x", "limit": 10_000}, 422, "validation", "limit is 10000; it may be 1 to 100"),
            ({"query": "x", "ranking": {"luck": 1}}, 422, "validation", "'luck'"),
            ({"query": "x", "ranking": {"dense_share": 2}}, 422, "validation", "dense_share is 2"),
            ({"query": "x", "mode": "psychic"}, 422, "validation", "mode"),
            ({"query": "x", "language": ["python"]}, 422, "validation", "language"),
            ({"query": "x", "repositories": ["nope"]}, 404, "not_found", "'nope'"),
            ({"query": "x", "ref": "nope"}, 404, "not_found", "'nope'"),
            ({"query": "x", "paths": ["[z-a]*"]}, 422, "validation", "'[z-a]*'"),
            ({"query": "x", "paths": ["[a--b]"], "mode": "symbol"}, 422, "validation", "'[a--b]'"),
            ({"query": "x", "paths": ["x" * 5_000]}, 422, "validation", "4096"),
            ({"query": 7}, 422, "validation", "query"),
            ({}, 422, "validation", "query"),
        ],
        ids=lambda value: str(value)[:40],
    )
    async def test_bad_requests_name_the_value_and_the_limit(
        self, http: httpx.AsyncClient, body: dict[str, Any], status: int, code: str, words: str
    ) -> None:
        response = await http.post("/v1/search", json=body)
        assert response.status_code == status
        error = response.json()["error"]
        assert error["code"] == code
        assert words in error["message"]

    async def test_a_body_that_is_not_json(self, http: httpx.AsyncClient) -> None:
        response = await http.post("/v1/search", content=b"{", headers={"content-type": "application/json"})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "validation")
