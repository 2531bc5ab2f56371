"""A repository whose name begins with a dot: no search finds it that does not name it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from rag_app.core.settings import RagSettings
from rag_app.features.search.router import search_router
from tests.support.indexed import SmallIndex
from tests.support.live import free_port
from tests.support.pools import find, pool_chunks, service_over
from tests.support.rag import serve_generation

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

NAME = ".pools-scratch-1x2y"


@dataclass
class Served:
    """Search and answers over two repositories with the same files, one of them hidden."""

    http: httpx.AsyncClient
    index: SmallIndex
    seen: str
    hidden: str

    async def found(self, query: str = "lock release", **body: Any) -> set[str]:
        answer = await self.http.post("/v1/search", json={"query": query, **body})
        assert answer.status_code == 200, answer.text
        return {hit["repository"] for hit in answer.json()["hits"]}


@pytest.fixture
async def served(index: SmallIndex, repository: str) -> AsyncIterator[Served]:
    hidden = index.repository(NAME)
    await index.put(hidden, pool_chunks(hidden))
    service = service_over(index)
    app = serve_generation(service, index.manifest, f"http://127.0.0.1:{free_port()}/v1")  # type: ignore[arg-type]
    app.include_router(search_router(service, index.manifest.all_ids, RagSettings(_env_file=None)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        yield Served(http, index, repository, hidden)


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse", "symbol"])
async def test_a_search_that_names_no_repository_does_not_find_it_in_any_mode(served: Served, mode: str) -> None:
    query = "close" if mode == "symbol" else "lock release"
    assert await served.found(query, mode=mode) == {served.seen}


async def test_a_search_that_names_it_does(served: Served) -> None:
    assert await served.found(repositories=[served.hidden]) == {served.hidden}
    assert await served.found(repositories=[served.hidden, served.seen]) == {served.hidden, served.seen}
    assert await served.found(f"lock release repo:{NAME}") == {served.hidden}
    assert await served.found(f"lock release repo:{served.hidden}") == {served.hidden}


async def test_its_words_do_not_count_in_a_search_that_leaves_it_out(served: Served) -> None:
    with_it = (await find(served.index, "lock release", mode="sparse")).hits
    served.index.manifest.delete(served.hidden)
    without = (await find(served.index, "lock release", mode="sparse")).hits
    assert [(hit.chunk.id, hit.scores["sparse"]) for hit in with_it] == [
        (hit.chunk.id, hit.scores["sparse"]) for hit in without
    ]


async def test_what_one_repository_keeps_ranks_a_search_that_leaves_only_hidden_ones_out(served: Served) -> None:
    served.index.manifest.rankings.keep(served.seen, {"dense_share": 0.0}, {})
    answer = await served.http.post("/v1/search", json={"query": "lock release", "explain": True})
    assert answer.json()["query"]["weights_from"] == "repository"


async def test_an_answer_is_not_drawn_from_it_unless_it_is_named(served: Served) -> None:
    question = {"question": "where is the lock released?"}
    answers = [
        (await served.http.post("/v1/ask", json={**question, **more})).json()
        for more in ({}, {"repositories": [served.hidden]})
    ]
    assert [{one["repository"] for one in answer["citations"]} for answer in answers] == [
        {served.seen},
        {served.hidden},
    ]
