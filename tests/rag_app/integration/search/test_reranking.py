"""A cross-encoder that reads the first hits again: what it is asked, what its scores do, and search without it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient

from rag_app.clients.embedding import ServiceEmbedder
from rag_app.clients.reranking import create_reranker
from rag_app.core.models import SearchQuery, SearchResult
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from rag_app.features.search.service import SearchService
from tests.support.chunks import make_chunk
from tests.support.fake_tei import FakeTei
from tests.support.indexed import SmallIndex, open_manifest
from tests.support.live import free_port, live

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

WORDS = "release the lock now"
FILES = {
    "words.py": "release the lock now, release the lock now",
    "some.py": "release the lock",
    "few.py": "the lock",
    "one.py": "a lock of hair",
    "none.py": "something else entirely",
}


def likes(path: str) -> Any:
    return lambda query, text: 0.95 if text.startswith(path) else 0.05


@pytest.fixture
def tei() -> Iterator[tuple[FakeTei, str]]:
    fake = FakeTei(max_client_batch_size=4, extra_info={"dim": 8, "identity": "ab" * 16})
    with live(fake.app()) as url:
        yield fake, url


@asynccontextmanager
async def searching(folder: Path, url: str, **chosen: Any) -> AsyncIterator[SearchService]:
    settings = RagSettings(_env_file=None, embedding_url=url, **chosen)
    store, embedder, reranker = (
        ChunkStore(settings, AsyncQdrantClient(":memory:")),
        ServiceEmbedder(settings),
        create_reranker(settings),
    )
    index = SmallIndex(store, open_manifest(folder), embedder)
    repository = index.repository("r")
    await index.put(repository, [make_chunk(path, text, repository=repository) for path, text in FILES.items()])
    yield SearchService(store, index.manifest, embedder, settings, reranker=reranker)
    if reranker is not None:
        await reranker.close()
    await embedder.close()
    await store.close()
    index.manifest.close()


async def found(service: SearchService, words: str = WORDS, **fields: Any) -> SearchResult:
    scope = service._manifest.all_ids()
    return await service.search(SearchQuery(words, **fields), scope)


def paths(result: SearchResult) -> list[str]:
    return [hit.chunk.span.path for hit in result.hits]


async def test_what_the_cross_encoder_likes_comes_up(tei: tuple[FakeTei, str], tmp_path: Path) -> None:
    fake, url = tei
    fake.relevance = likes("few.py")
    async with searching(tmp_path, url) as service:
        assert create_reranker(service._settings) is None
        without = await found(service)
    assert "/rerank" not in fake.paths
    assert paths(without)[0] == "words.py"
    async with searching(tmp_path / "again", url, rerank_url=url, rerank_api_key="secret") as service:
        result = await found(service)
    assert paths(result)[0] == "few.py"
    assert sorted(paths(result)) == sorted(paths(without))
    assert result.degraded == ()
    assert "rerank" in result.took_ms
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    before = next(hit.score for hit in without.hits if hit.chunk.span.path == "few.py")
    assert result.hits[0].score == pytest.approx((before + 0.95) / 2)
    assert result.hits[0].scores["rerank"] == 0.95
    asked = [body for body in fake.bodies if "texts" in body]
    assert [len(body["texts"]) for body in asked] == [4, 1], "in batches that the server takes"
    assert {body["query"] for body in asked} == {WORDS}
    assert "few.py\nthe lock" in asked[0]["texts"]
    assert {headers.get("authorization") for headers in fake.headers if "authorization" in headers} == {"Bearer secret"}


async def test_only_the_first_are_read_and_no_other_passes_them_by_that(
    tei: tuple[FakeTei, str], tmp_path: Path
) -> None:
    fake, url = tei
    fake.relevance = lambda query, text: 0.0
    async with searching(tmp_path, url, rerank_url=url, rerank_depth=2) as service:
        result = await found(service, limit=5)
        cut = await found(service, limit=1)
    asked = [body["texts"] for body in fake.bodies if "texts" in body]
    assert [len(texts) for texts in asked] == [2, 2], "and so many, however few hits are wanted"
    assert paths(result)[:2] == ["words.py", "some.py"]
    assert paths(cut) == ["words.py"]


async def test_filters_are_not_part_of_what_it_reads(tei: tuple[FakeTei, str], tmp_path: Path) -> None:
    fake, url = tei
    async with searching(tmp_path, url, rerank_url=url) as service:
        await found(service, f"path:words.py {WORDS}")
    assert [body["query"] for body in fake.bodies if "texts" in body] == [WORDS]


@pytest.mark.parametrize("mode", ["dense", "sparse", "symbol"])
async def test_a_bare_arm_and_a_look_for_names_are_left_alone(
    tei: tuple[FakeTei, str], tmp_path: Path, mode: Any
) -> None:
    fake, url = tei
    async with searching(tmp_path, url, rerank_url=url) as service:
        await found(service, mode=mode)
    assert "/rerank" not in fake.paths


async def test_a_search_may_do_without(tei: tuple[FakeTei, str], tmp_path: Path) -> None:
    fake, url = tei
    async with searching(tmp_path, url, rerank_url=url) as service:
        await found(service, ranking={"rerank_share": 0.0})
    assert "/rerank" not in fake.paths


async def test_where_it_cannot_be_had_hits_stay_in_their_order_and_that_is_said(
    tei: tuple[FakeTei, str], tmp_path: Path
) -> None:
    _, url = tei
    async with searching(tmp_path, url, rerank_url=f"http://127.0.0.1:{free_port()}") as service:
        result = await found(service)
    assert result.degraded == ("reranker",)
    assert paths(result)[0] == "words.py"
    assert "rerank" not in result.hits[0].scores


@pytest.mark.parametrize("elsewhere", ["/v1", "/nothing"])
async def test_a_server_that_does_not_rerank_is_told_as_one_and_not_as_a_search_that_found_nothing(
    tei: tuple[FakeTei, str], tmp_path: Path, elsewhere: str
) -> None:
    _, url = tei
    async with searching(tmp_path, url, rerank_url=url + elsewhere) as service:
        result = await found(service)
    assert result.degraded == ("reranker",)
    assert paths(result)[0] == "words.py"


@pytest.mark.parametrize("score", [1.5, -0.1, float("nan"), None, "much"])
async def test_an_answer_that_is_no_ranking_is_told_as_such(
    tei: tuple[FakeTei, str], tmp_path: Path, score: Any
) -> None:
    fake, url = tei
    fake.relevance = lambda query, text: score
    async with searching(tmp_path, url, rerank_url=url) as service:
        result = await found(service)
    assert result.degraded == ("reranker",)
    assert paths(result)[0] == "words.py"
