"""TEI's /rerank: scores, order, cuts, refusals, and the permits that a reranking takes."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from embedding_service.backends.load import LoadedModel
from embedding_service.main import create_app
from tests.embedding_service.conftest import MakeSettings, wait_until_ready
from tests.embedding_service.integration.conftest import QUERY, TEXTS, answered, cross_encoder
from tests.support.engines import InProcess
from tests.support.live import live


def test_rerank_gives_the_scores_of_the_cross_encoder_best_first(
    reranker: httpx.Client, folders: dict[str, Path]
) -> None:
    found = answered(reranker.post("/rerank", json={"query": QUERY, "texts": TEXTS}))
    expected = cross_encoder(folders["reranker"], [(QUERY, text) for text in TEXTS])
    assert np.ptp(expected) > 0.05  # else no order is tested
    assert [set(rank) for rank in found] == [{"index", "score"}] * 4  # no text unless asked for
    assert [rank["score"] for rank in found] == sorted((rank["score"] for rank in found), reverse=True)
    scores = {rank["index"]: rank["score"] for rank in found}
    np.testing.assert_allclose([scores[index] for index in range(4)], expected, atol=1e-4)


def test_rerank_gives_raw_scores_and_texts_where_asked(reranker: httpx.Client, folders: dict[str, Path]) -> None:
    body = {"query": QUERY, "texts": TEXTS[:2], "raw_scores": True, "return_text": True}
    found = answered(reranker.post("/rerank", json=body))
    expected = cross_encoder(folders["reranker"], [(QUERY, text) for text in TEXTS[:2]], raw=True)
    assert [rank["text"] for rank in found] == [TEXTS[rank["index"]] for rank in found]
    np.testing.assert_allclose([rank["score"] for rank in found], np.sort(expected)[::-1], atol=1e-4)


def test_of_two_equal_texts_the_later_one_is_ranked_first_as_by_tei(reranker: httpx.Client) -> None:
    found = answered(reranker.post("/rerank", json={"query": "test", "texts": ["test", "other", "test"]}))
    order = [rank["index"] for rank in found]
    assert order.index(2) + 1 == order.index(0)


def test_rerank_cuts_the_side_that_is_asked_for(reranker: httpx.Client) -> None:
    def scores(**fields: Any) -> dict[int, float]:
        body = {"query": "q", "texts": ["alpha " * 70 + "omega " * 70, "alpha " * 70, "omega " * 70], **fields}
        return {rank["index"]: rank["score"] for rank in answered(reranker.post("/rerank", json=body))}

    # Longer than is tokenised at all (125 characters a token for each part of a pair): its end is kept nevertheless.
    (huge,) = answered(
        reranker.post(
            "/rerank",
            json={"query": "q", "texts": ["alpha " * 3_000 + "omega " * 70], "truncation_direction": "left"},
        )
    )
    right, left = scores(), scores(truncation_direction="Left")
    assert huge["score"] == pytest.approx(left[2], abs=1e-5)
    assert right[0] == pytest.approx(right[1], abs=1e-5)
    assert left[0] == pytest.approx(left[2], abs=1e-5)
    assert right[1] != pytest.approx(right[2], abs=1e-3)


def test_rerank_refuses_what_tei_refuses(reranker: httpx.Client) -> None:
    empty = reranker.post("/rerank", json={"query": QUERY, "texts": []})
    assert (empty.status_code, empty.json()) == (400, {"error": "`texts` cannot be empty", "error_type": "Empty"})
    many = reranker.post("/rerank", json={"query": QUERY, "texts": ["a"] * 9})
    assert (many.status_code, many.json()["error_type"]) == (422, "Validation")
    assert "batch size 9 > maximum allowed batch size 8" in many.json()["error"]
    long = reranker.post("/rerank", json={"query": QUERY, "texts": ["word " * 100], "truncate": False})
    assert (long.status_code, long.json()["error_type"]) == (422, "Validation")
    for body in ({"query": QUERY}, {"texts": ["a"]}, {"query": ["a"], "texts": ["a"]}, {"query": "a", "texts": "a"}):
        assert reranker.post("/rerank", json=body).status_code == 422
    both = reranker.post("/rerank", json={"query": "", "texts": [""]})
    assert (both.status_code, both.json()["error_type"]) == (400, "Empty")
    assert reranker.post("/rerank", json={"query": "", "texts": ["a"]}).status_code == 200  # one of the two suffices


class Held:
    """A reranker whose every score is 1, given when it may."""

    name, dim, tasks = "held", 1, frozenset({"predict"})

    def __init__(self) -> None:
        self.entered, self.may_finish = threading.Event(), threading.Event()

    def run(self, task: Any, batch: Any) -> Any:
        self.entered.set()
        assert self.may_finish.wait(30)
        return np.ones((len(batch.ids), 1), np.float32)


def test_each_text_of_a_reranking_takes_a_permit_and_gives_it_back(
    make_settings: MakeSettings, onnx_model: LoadedModel
) -> None:
    spec = replace(onnx_model.spec, kind="reranker", id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})
    backend = Held()
    settings = make_settings(max_concurrent_requests=3, max_client_batch_size=3)
    model = LoadedModel(spec, onnx_model.tokenizer, backend, 1)
    app = create_app(settings, make_engine=lambda: InProcess(lambda: model))
    with live(app) as url, httpx.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(1) as pool:
        wait_until_ready(url)
        body = {"query": "a", "texts": ["b", "c"]}
        first = pool.submit(client.post, "/rerank", json=body)
        assert backend.entered.wait(30)
        for path, refused_body in (("/rerank", body), ("/predict", {"inputs": [["a"], ["b", "c"]]})):
            refused = client.post(path, json=refused_body)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1"), path
            assert refused.json()["error_type"] == "Overloaded"
            assert refused.json()["error"].startswith("Model is overloaded")
        assert answered(client.post("/tokenize", json={"inputs": ["a", "b", "c"]}))  # which takes no permit, as in TEI
        backend.may_finish.set()
        assert first.result().status_code == 200
        assert answered(client.post("/rerank", json={"query": "a", "texts": ["b", "c", "d"]}))
