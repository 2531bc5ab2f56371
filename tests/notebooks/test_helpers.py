"""What the notebooks import: the parts that need no stack."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from evals.core.ranking import Ranking
from evals.report import write
from evals.report.figures import scored
from notebooks import asking, rag, results, tuning
from notebooks.asking import Asked, lost_by
from notebooks.tables import Table
from search_eval.golden import Gold, Question
from search_eval.metrics import Found

QUESTION = Question("q", "where?", (Gold("a.py", 10, 20), Gold("b.py", 1, 5)))


def hit(path: str, start: int, end: int) -> dict[str, object]:
    return {"path": path, "start_line": start, "end_line": end, "content": "x", "scores": {}}


def test_the_rank_is_that_of_the_first_hit_on_the_right_lines() -> None:
    asked = Asked(QUESTION, [hit("a.py", 1, 9), hit("b.py", 5, 9), hit("a.py", 20, 30)], {})
    assert asked.rank == 2
    assert asked.gold_hit == hit("b.py", 5, 9)
    assert asked.ndcg == pytest.approx((1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3)))


def test_a_question_whose_answer_was_not_found_has_no_rank() -> None:
    asked = Asked(QUESTION, [hit("c.py", 1, 9)], {})
    assert (asked.rank, asked.gold_hit, asked.ndcg) == (None, None, 0.0)


@pytest.mark.parametrize(
    ("dense", "sparse", "hybrid", "lost"),
    [
        (3, 4, 1, ""),
        (None, None, None, "both: not found"),
        (5, None, None, "the fusion: left out"),
        (1, 9, 2, "the fusion: meaning alone had it first"),
        (9, 1, 2, "the fusion: words alone had it first"),
        (2, 30, 2, "the words"),
        (30, 2, 3, "the meaning"),
        (2, 2, 2, "both"),
    ],
)
def test_who_lost_an_answer_is_told_by_its_ranks(
    dense: int | None, sparse: int | None, hybrid: int | None, lost: str
) -> None:
    assert lost_by({"dense": dense, "sparse": sparse, "hybrid": hybrid}) == lost


def test_a_table_shows_whole_numbers_as_such_and_nothing_as_a_dash() -> None:
    table = Table([{"a": 1.0, "b": 0.12345, "c": None, "d": "x|y"}])
    assert repr(table).splitlines() == ["| a | b | c | d |", "| --- | --- | --- | --- |", "| 1 | 0.123 | – | x\\|y |"]


def test_the_half_that_chose_a_setting_flatters_it() -> None:
    random = np.random.default_rng(3)
    noise = random.normal(size=(40, 30))  # settings that are worth nothing
    halves = tuning.by_halves(noise, np.zeros(30), times=200)
    assert halves.tuned.mean() > 0.2
    assert abs(halves.other.mean()) < 0.15


def test_a_setting_that_is_better_everywhere_is_worth_as_much_on_the_other_half() -> None:
    halves = tuning.by_halves([[0.3] * 10, [0.5] * 10], [0.4] * 10, times=20)
    assert halves.tuned == pytest.approx(np.full(20, 0.1))
    assert halves.other == pytest.approx(np.full(20, 0.1))


def test_random_settings_stay_in_their_bounds_and_come_again() -> None:
    bounds = {"a": (0.2, 0.4), "b": (0.0, 1.0)}
    settings = tuning.random_settings(bounds, 50)
    assert all(bounds[name][0] <= value <= bounds[name][1] for one in settings for name, value in one.items())
    assert settings == tuning.random_settings(bounds, 50)
    assert len({one["a"] for one in settings}) > 5


def test_near_keeps_to_what_a_weight_may_be() -> None:
    assert tuning.near({"share": 0.9, "boost": 0.1, "per_file": 3}, 0.3) == {
        "share": pytest.approx((0.6, 1.0)),
        "boost": pytest.approx((0.0, 0.4)),
    }


def test_what_does_nothing_in_the_stack_is_not_turned() -> None:
    told = {"defaults": {"dense_share": 0.4, "rerank_share": 0.5}, "idle": ["rerank_share"]}
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200 if request.url.path == "/v1/repositories/r1/ranking" else 404, json=told)
    )
    with httpx.Client(transport=transport, base_url="http://rag") as client:
        assert tuning.movable(client, "r1") == {"dense_share": 0.4}


def test_the_addresses_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAG_URL", raising=False)
    monkeypatch.setenv("RAG_PORT", "8123")
    assert rag.rag_url() == "http://127.0.0.1:8123"
    monkeypatch.setenv("RAG_URL", "http://stack:1")
    assert rag.rag_url() == "http://stack:1"
    monkeypatch.setenv("QDRANT_HOST", "store")
    assert rag.qdrant_url() == "http://store:6333"


def test_a_search_that_is_refused_says_what_the_server_said() -> None:
    refusal = {"error": {"code": "validation", "message": "ranking: no weight is called 'x'"}}
    client = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(422, json=refusal)), base_url="http://s"
    )
    with pytest.raises(RuntimeError, match="no weight is called 'x'"):
        rag.search(client, "q", "r", ranking={"x": 1})


def test_a_question_is_asked_with_its_fields_and_explained() -> None:
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"hits": [], "query": {"weights": {"dense_share": 0.7}}})

    client = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://s")
    asked = asking.ask(client, "r", QUESTION, limit=10, ranking={"dense_share": 0})
    assert asked.about == {"weights": {"dense_share": 0.7}}
    assert bodies == [
        {"query": "where?", "repositories": ["r"], "limit": 10, "explain": True, "ranking": {"dense_share": 0}}
    ]


def test_an_evaluation_that_was_written_is_read_as_one_that_was_made_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EVAL_RESULT", raising=False)
    assert results.written() is None
    rankings = {
        "product": {"q": Ranking((Found("a.py", 10, 12, 40),))},
        "bm25": {"q": Ranking((Found("c.py", 1, 2, 8),))},
    }
    part = write.Part(scored("ours", [QUESTION], rankings), rankings, {})
    monkeypatch.setenv("EVAL_RESULT", str(write.write([part], {}, {}, [], tmp_path)))
    values = results.written()
    assert values is not None
    assert results.column(values, "bm25", "ndcg10") == [0]
    assert results.column(values, "product", "span_hit1") == [1]
    made = results.small({"product": [Asked(QUESTION, [{**hit("a.py", 10, 12), "content": "x" * 40}], {})]})
    assert made["product"] == values["product"]


def test_values_of_two_systems_stand_in_one_order() -> None:
    values = {"a": {"q1": {"m": 1.0}, "q2": {"m": 2.0}}, "b": {"q2": {"m": 20.0}, "q1": {"m": 10.0}}}
    assert results.column(values, "b", "m") == [10, 20]
