"""What a search, its arms and its ranking cost: the arithmetic, the tables and the last line, of made-up batches."""

import json
from collections.abc import Mapping

import pytest

from benchmarks.search import cost
from benchmarks.search.cost import Spread, spread
from benchmarks.search.measure import Batch, in_turn
from benchmarks.search.questions import SYMBOL, WORDS, Question
from benchmarks.search.report import Outcome, as_json, headline, tables
from benchmarks.search.servers import EMBEDDING, PROCESSES, RAG, STORE
from benchmarks.search.ways import AROUND, HYBRID, NEUTRAL, NOTHING, WAYS, WrongAnswer, neutral_weights

# CPU-ms a query of a server that is made up: around a search 5, an arm and its fusion 10 or 4, the model 6, the fetch
# of a hit 0.2 each, ranking 3, of which 1 is what signals find.
MADE_UP = {
    "hybrid": 5 + 10 + 4 + 6 + 2 + 3,
    "neutral": 5 + 10 + 4 + 6 + 2 + 2,
    "dense": 5 + 10 + 6 + 2,
    "sparse": 5 + 4 + 2,
    "sparse_one": 5 + 4 + 0.2,
    "around": 5 + 0.2,
    "nothing": 5,
}


def batches(number: int, kind: str, queries: int, extra: Mapping[str, float] | None = None) -> list[Batch]:
    """One of each way; the embedding service has 6 ms of what has a model in it, the store a third of the rest."""
    found = []
    for way, whole in MADE_UP.items():
        model = 6.0 if way in ("hybrid", "neutral", "dense") else 0.0
        rest = whole - model + (extra or {}).get(way, 0.0)
        used = {RAG: rest * 2 / 3, STORE: rest / 3, EMBEDDING: model}
        found.append(Batch(number, kind, way, queries, {name: ms * queries / 1e3 for name, ms in used.items()}))
    return found


def outcome(*found: Batch) -> Outcome:
    return Outcome(
        list(found), 100_123, {SYMBOL: 30, WORDS: 10}, {SYMBOL: {"symbol": 29, "words": 1}}, {}, 0.25, "int8"
    )


def of_all(figure: object, found: list[Batch], kind: str | None = None) -> Spread:
    return spread(found, figure, PROCESSES, kind)  # type: ignore[arg-type]


def test_the_arms_hold_all_but_the_ranking_and_every_part_once() -> None:
    found = batches(0, SYMBOL, 30)
    assert of_all(cost.arms, found).median == pytest.approx(5 + 10 + 4 + 6 + 2)
    assert of_all(cost.ranking, found).median == pytest.approx(3)
    assert of_all(cost.signals, found).median == pytest.approx(1)


def test_two_searches_that_fetch_ten_hits_each_count_the_fetch_twice() -> None:
    assert of_all(cost.ranking_hits_twice, batches(0, SYMBOL, 30)).median == pytest.approx(3 - 2)


def test_a_process_has_its_own_share_of_it() -> None:
    found = batches(0, SYMBOL, 30)
    assert spread(found, cost.arms, (EMBEDDING,)).median == pytest.approx(6)
    assert spread(found, cost.ranking, (RAG,)).median == pytest.approx(2)
    assert spread(found, cost.ranking, (STORE,)).median == pytest.approx(1)


def test_a_round_in_which_the_machine_was_slow_is_told_and_is_not_the_figure() -> None:
    slow = batches(2, SYMBOL, 30, {"hybrid": 40})
    found = [*batches(0, SYMBOL, 30), *batches(1, SYMBOL, 30, {"hybrid": -1}), *slow]
    told = of_all(cost.ranking, found)
    assert (told.median, told.low, told.high) == pytest.approx((3, 2, 43))


def test_a_round_is_the_mean_over_its_queries_whatever_batches_they_came_in() -> None:
    found = [*batches(0, SYMBOL, 30), *batches(0, WORDS, 10, {"hybrid": 4})]
    assert of_all(cost.ranking, found).median == pytest.approx(3 + 4 * 10 / 40)
    assert of_all(cost.ranking, found, WORDS).median == pytest.approx(7)


def test_the_last_line_names_what_was_measured() -> None:
    found = [*batches(0, SYMBOL, 30), *batches(0, WORDS, 10)]
    assert headline(outcome(*found)) == {
        "ranking_cpu_ms": 3.0,
        "ranking_cpu_ms_low": 3.0,
        "ranking_cpu_ms_high": 3.0,
        "hybrid_cpu_ms": 30.0,
        "arms_cpu_ms": 27.0,
        "chunks": 100_123,
        "queries": 40,
    }


def test_the_table_has_every_way_process_and_kind_and_what_others_took() -> None:
    told = tables(outcome(*batches(0, SYMBOL, 30), *batches(0, WORDS, 10)))
    ranking = next(line for line in told.splitlines() if line.startswith("ranking "))
    assert ranking.split() == ["ranking", "2.00", "1.00", "0.00", "3.00", "3.00", "to", "3.00"]
    assert all(way.name in told for way in WAYS)
    assert "symbol 29, words 1" in told
    assert "25% of the machine's CPU" in told


def test_the_kept_result_has_each_round() -> None:
    whole = as_json(outcome(*batches(0, SYMBOL, 30), *batches(0, WORDS, 10), *batches(1, SYMBOL, 30)))
    assert json.loads(json.dumps(whole))["rounds"]["1"]["hybrid"] == pytest.approx(30)
    assert whole["cpu_ms"][EMBEDDING]["arms"]["median"] == pytest.approx(6)


def test_no_way_always_comes_first() -> None:
    firsts = [in_turn(WAYS, number)[0] for number in range(len(WAYS))]
    assert len(set(firsts)) == len(WAYS)
    assert sorted(way.name for way in in_turn(WAYS, 3)) == sorted(way.name for way in WAYS)


def test_shares_and_what_is_idle_stay_where_all_signals_are_out() -> None:
    told = {
        "bounds": {name: {"neutral": value} for name, value in {"dense_share": 0, "test_weight": 1, "x": 0}.items()},
        "idle": ["x"],
    }
    assert neutral_weights(told) == {"test_weight": 1}


def test_the_ways_differ_in_where_they_look_and_by_what_they_rank() -> None:
    question = Question(SYMBOL, "close", "src/pool.py")
    assert HYBRID.body(question, {"a": 1}) == {"query": "close", "mode": "hybrid", "limit": 10}
    assert NEUTRAL.body(question, {"a": 1})["ranking"] == {"a": 1}
    assert AROUND.body(question, {})["paths"] == ["/src/pool.py"]
    assert NOTHING.body(question, {})["paths"] != ["/src/pool.py"]


@pytest.mark.parametrize(
    ("way", "hits", "degraded"),
    [(HYBRID, 9, []), (HYBRID, 10, ["embedding"]), (AROUND, 0, []), (NOTHING, 1, [])],
    ids=["too few", "no model", "none of its own file", "some of no file"],
)
def test_an_answer_that_is_not_what_is_measured_is_refused(way: object, hits: int, degraded: list[str]) -> None:
    question = Question(SYMBOL, "close", "src/pool.py")
    with pytest.raises(WrongAnswer, match="close"):
        way.check(question, {"hits": [{}] * hits, "degraded": degraded})  # type: ignore[attr-defined]
