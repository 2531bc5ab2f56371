"""Weights that are kept for a repository: over the routes, and what they change in searches of it and of no other."""

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from rag_app.clients.reranking import create_reranker
from rag_app.core.models import Scope
from rag_app.core.settings import RagSettings
from rag_app.features.search.router import search_router
from rag_app.features.search.service import SearchService
from rag_app.features.search.weights import Weights
from service_kit.app import create_service
from service_kit.metrics import HttpMetrics
from tests.support.chunks import make_chunk
from tests.support.indexed import SmallIndex
from tests.support.pools import service_over

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

# With tests weighing as much as code, the test leads: it says more of the words.
KEPT = {"test_weight": 1.0, "dense_share": 0.0}
BODY = {"weights": KEPT, "evidence": {"gain": 0.03, "questions": 64}}


@dataclass
class Served:
    """Two repositories with the same files, and what the caller may see."""

    http: httpx.AsyncClient
    service: SearchService
    index: SmallIndex
    mine: str
    other: str
    hidden: str
    scope: Scope

    async def first(self, *repositories: str, **body: Any) -> tuple[str, str]:
        """(path of the best hit, where the weights came from)."""
        asked = {"query": "lock release", "repositories": list(repositories), "explain": True, **body}
        answer = (await self.http.post("/v1/search", json=asked)).json()
        return answer["hits"][0]["path"], answer["query"]["weights_from"]

    def path(self, repository: str) -> str:
        return f"/v1/repositories/{repository}/ranking"


@pytest.fixture
async def served(index: SmallIndex) -> AsyncIterator[Served]:
    settings = RagSettings(_env_file=None)
    ids = [index.repository(name) for name in ("mine", "other", "hidden")]
    for identifier in ids:
        await index.put(
            identifier,
            [
                make_chunk(
                    "src/pool.py", "def close(self):\n    lock.release()\n    self.x = 1", repository=identifier
                ),
                make_chunk("tests/test_pool.py", "lock.release()\nlock.release()", repository=identifier),
            ],
        )

    async def ready() -> list[Any]:
        return []

    app = create_service("rag", readiness=ready, metrics=HttpMetrics("rag"), max_body_bytes=1_000_000)
    service = service_over(index)
    scope = frozenset(ids[:2])
    app.include_router(search_router(service, lambda: scope, settings))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://rag") as http:
        yield Served(http, service, index, *ids, scope)


async def test_kept_weights_rank_the_searches_of_their_repository_and_no_others(served: Served) -> None:
    before = await served.first(served.mine)
    assert before == ("src/pool.py", "default")
    assert (await served.http.put(served.path(served.mine), json=BODY)).status_code == 200
    assert await served.first(served.mine) == ("tests/test_pool.py", "repository")
    assert await served.first(served.other) == before
    assert await served.first(served.mine, served.other) == before, "several repositories have no weights of one"


async def test_a_requests_own_weights_go_above_the_kept_ones_and_the_rest_of_these_stays(served: Served) -> None:
    await served.http.put(served.path(served.mine), json=BODY)
    answer = await served.first(served.mine, ranking={"test_weight": 0.5})
    assert answer == ("src/pool.py", "request")
    asked = {"query": "x", "repositories": [served.mine], "explain": True, "ranking": {"test_weight": 0.5}}
    weights = (await served.http.post("/v1/search", json=asked)).json()["query"]["weights"]
    assert (weights["test_weight"], weights["dense_share"]) == (0.5, 0.0)


async def test_what_is_forgotten_ranks_no_more(served: Served) -> None:
    await served.http.put(served.path(served.mine), json=BODY)
    for _ in range(2):
        assert (await served.http.delete(served.path(served.mine))).status_code == 204
    assert await served.first(served.mine) == ("src/pool.py", "default")


async def test_the_route_tells_weights_defaults_bounds_and_evidence(served: Served) -> None:
    nothing = (await served.http.get(served.path(served.mine))).json()
    assert (nothing["weights"], nothing["evidence"], nothing["kept_at"]) == ({}, {}, None)
    assert nothing["defaults"] == Weights().named()
    assert nothing["bounds"]["test_weight"] == {"lowest": 0, "highest": 1, "neutral": 1}
    assert nothing["bounds"].keys() == nothing["defaults"].keys()
    kept = (await served.http.put(served.path(served.mine), json=BODY)).json()
    assert (kept["weights"], kept["evidence"]) == ({**Weights().named(), **KEPT}, BODY["evidence"])
    assert kept["kept_at"].endswith("Z")
    assert (await served.http.get(served.path(served.mine))).json() == kept


async def test_the_route_tells_which_weights_do_nothing_in_this_stack(served: Served, tei_url: str) -> None:
    assert (await served.http.get(served.path(served.mine))).json()["idle"] == ["rerank_share"]
    reranker = create_reranker(RagSettings(_env_file=None, embedding_url=tei_url, rerank_url=tei_url))
    assert reranker is not None
    served.service._reranker = reranker
    assert (await served.http.get(served.path(served.mine))).json()["idle"] == []
    await reranker.close()


async def test_what_was_kept_stays_what_it_was_when_a_later_release_has_other_defaults(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.http.put(served.path(served.mine), json=BODY)
    asked = {"query": "x", "repositories": [served.mine], "explain": True}
    before = (await served.http.post("/v1/search", json=asked)).json()["query"]["weights"]
    later = dataclasses.replace(Weights(), prose_factor=3.0, per_file=7)
    monkeypatch.setattr("rag_app.features.search.kept.Weights", lambda: later)
    after = (await served.http.post("/v1/search", json=asked)).json()["query"]
    assert (after["weights"], after["weights_from"]) == (before, "repository")


async def test_what_an_earlier_release_kept_which_told_differences_only_still_ranks(served: Served) -> None:
    served.index.manifest.rankings.keep(served.mine, KEPT, {})
    assert await served.first(served.mine) == ("tests/test_pool.py", "repository")
    assert (await served.http.get(served.path(served.mine))).json()["weights"] == KEPT


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"weights": {"luck": 1}}, "no weight is called 'luck'"),
        ({"weights": {"test_weight": 2}}, "test_weight is 2; it may be 0 to 1"),
        ({"weights": {"test_weight": Weights().test_weight}}, "these are the defaults"),
        ({"weights": {}}, "weights"),
        ({"weights": KEPT, "proof": 1}, "proof"),
        ({"weights": KEPT, "evidence": {"log": "x" * 20_000}}, "the limit is 20000"),
    ],
)
async def test_what_cannot_be_kept_is_refused_and_what_was_kept_stays(
    served: Served, body: dict[str, Any], says: str
) -> None:
    await served.http.put(served.path(served.mine), json=BODY)
    answer = await served.http.put(served.path(served.mine), json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "validation")
    assert says in answer.json()["error"]["message"]
    assert (await served.http.get(served.path(served.mine))).json()["weights"] == {**Weights().named(), **KEPT}


async def test_a_repository_that_is_not_yours_is_not_found_like_an_unknown_one(served: Served) -> None:
    for identifier in (served.hidden, "nope"):
        for answer in (
            await served.http.get(served.path(identifier)),
            await served.http.put(served.path(identifier), json=BODY),
            await served.http.delete(served.path(identifier)),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert served.index.manifest.rankings.of(served.hidden) is None


async def test_nothing_is_kept_while_the_index_is_being_restored(served: Served) -> None:
    served.index.manifest.jobs.begin_maintenance("restore", 60)
    for answer in (
        await served.http.put(served.path(served.mine), json=BODY),
        await served.http.delete(served.path(served.mine)),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


async def test_kept_weights_that_this_program_does_not_know_are_passed_over_whole_and_logged(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.index.manifest.rankings.keep(served.mine, {**KEPT, "of_a_later_version": 1.0}, {})
    assert await served.first(served.mine) == ("src/pool.py", "default")
    assert "no weight is called 'of_a_later_version'" in caplog.text


async def test_a_repository_named_in_the_query_is_ranked_with_its_own_weights(served: Served) -> None:
    await served.http.put(served.path(served.mine), json=BODY)
    asked = {"query": "lock release repo:mine", "explain": True}
    answer = (await served.http.post("/v1/search", json=asked)).json()
    assert (answer["hits"][0]["path"], answer["query"]["weights_from"]) == ("tests/test_pool.py", "repository")
