"""The product as a system: what it is asked over HTTP, and how the index is brought to a batch's state."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from evals.core.indexing import Index, NotIndexed
from evals.core.product import PlainFusion, Product, neutral, without_each
from evals.core.stack import CallFailed, Service
from evals.core.task import Batch
from search_eval.metrics import Found
from tests.evals.laid import question
from tests.support.live import live

WEIGHTS = {"dense_share": 0.7, "test_weight": 0.5, "docs_weight": 1, "stem_boost": 0.1, "kind_boost": 0, "per_file": 3,
           "sure_factor": 1.75, "error_factor": 1}  # fmt: skip


class FakeRag:
    """Answers as the RAG server does, and keeps what it was asked."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.searches: list[dict[str, Any]] = []
        self.events: list[str] = []
        self.repositories: dict[str, str] = {}
        self.job_state = "succeeded"
        self.degraded: list[str] = []
        self.app.post("/v1/search")(self.search)
        self.app.get("/v1/repositories")(self.listed)
        self.app.post("/v1/repositories")(self.added)
        self.app.post("/v1/repositories/{repository}/sync")(self.synced)
        self.app.get("/v1/jobs/{job}")(self.job)

    async def search(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.searches.append(body)
        if body["query"] == "broken":
            return JSONResponse({"error": {"message": "no such weight"}}, 422)
        names = ["b.py", "a.py"] if body.get("mode") == "dense" else ["a.py", "b.py"]
        hits = [
            {"path": name, "start_line": 1, "end_line": 3, "content": "x" * 8, "score": 0.5, "scores": {"fused": 0.5},
             "symbol": "x"}
            for name in names
        ]  # fmt: skip
        return JSONResponse({"hits": hits, "degraded": self.degraded, "query": {"kind": "words", "weights": WEIGHTS}})

    async def listed(self) -> dict[str, Any]:
        return {"repositories": [{"name": name, "id": i} for name, i in self.repositories.items()]}

    async def added(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        self.repositories[body["name"]] = "id-" + body["name"]
        self.events.append(f"added {body['name']}")
        return {"repository": {"id": "id-" + body["name"]}, "job": {"id": "job"}}

    async def synced(self, repository: str) -> dict[str, Any]:
        self.events.append(f"synced {repository}")
        return {"repository": {"id": repository}, "job": {"id": "job"}}

    async def job(self, job: str) -> dict[str, Any]:
        return {"state": self.job_state, "progress": {"chunks_done": 1}, "error": "disk full"}


@pytest.fixture
def rag() -> FakeRag:
    return FakeRag()


@pytest.fixture
def service(rag: FakeRag) -> Iterator[Service]:
    with live(rag.app) as url:
        yield Service(url)


def batch(state: str, root: Path = Path("/x")) -> Batch:
    return Batch("thing", root, state, [question(1)])


def test_a_search_is_of_the_batch_s_repository_with_the_overrides_and_explained(rag: FakeRag, service: Service) -> None:
    product = Product("p", service, overrides={"stem_boost": 0})
    product.prepare(batch("one"), "id-thing")
    ranking = product.rank(question(1))
    assert ranking.found == (Found("a.py", 1, 3, 8), Found("b.py", 1, 3, 8))
    assert ranking.told[0]["query"]["kind"] == "words"
    assert rag.searches == [
        {"query": "query 1", "repositories": ["id-thing"], "mode": "hybrid", "limit": 50, "explain": True,
         "ranking": {"stem_boost": 0}}
    ]  # fmt: skip


def test_a_refused_search_is_told_with_the_server_s_words(service: Service) -> None:
    with pytest.raises(CallFailed, match=r"422.*no such weight"):
        service.call("POST", "/v1/search", {"query": "broken", "mode": "hybrid"})


def test_what_was_searched_without_its_model_counts_for_that_system_and_for_no_other(
    rag: FakeRag, service: Service
) -> None:
    whole, bare = Product("product", service), Product("no_model", service, is_degraded=True)
    assert whole.rank(question(1)).found
    with pytest.raises(CallFailed, match="no_model: a search with its model"):
        bare.rank(question(1))
    rag.degraded = ["embedding"]
    assert bare.rank(question(1)).found
    with pytest.raises(CallFailed, match="product: searched without embedding"):
        whole.rank(question(1))


def test_plain_fusion_asks_both_arms_as_deep_as_it_may(rag: FakeRag, service: Service) -> None:
    fusion = PlainFusion(service)
    fusion.prepare(batch("one"), "id-thing")
    found = fusion.rank(question(1)).found
    assert [one.path for one in found] == ["b.py", "a.py"]  # a tie: the dense arm came first
    assert [(one["mode"], one["limit"]) for one in rag.searches] == [("dense", 100), ("sparse", 100)]


def test_each_signal_that_counts_is_taken_out_once_and_those_that_do_not_are_left_alone(service: Service) -> None:
    systems = {one.name: one.overrides for one in without_each(service, service.weights())}
    assert systems == {
        "without_test_weight": {"test_weight": 1.0},
        "without_stem_boost": {"stem_boost": 0.0},
        "without_per_file": {"per_file": 0.0},
        "without_sure_factor": {"sure_factor": 1.0},
    }
    assert neutral("dense_share") is None


def test_a_new_repository_is_added_a_new_state_is_synced_and_the_same_state_is_left_alone(
    rag: FakeRag, service: Service
) -> None:
    index = Index(service, lambda line: None)
    for state in ("one", "one", "two"):
        assert index.bring(batch(state)) == "id-thing"
    assert rag.events == ["added thing", "synced id-thing"]
    Index(service, lambda line: None).bring(batch("two"))  # another run cannot know in which state it was left
    assert rag.events[2:] == ["synced id-thing"]


def test_a_job_that_fails_is_told(rag: FakeRag, service: Service) -> None:
    rag.job_state = "failed"
    with pytest.raises(NotIndexed, match="thing failed: disk full"):
        Index(service, lambda line: None).bring(batch("one"))
