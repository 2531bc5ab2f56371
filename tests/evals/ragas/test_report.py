import argparse
from typing import Any

import pytest

from evals.ragas.cost import Price, money, price, total
from evals.ragas.report import SCRIPTED_ANSWERS, SCRIPTED_JUDGE, Run, result, tables


def run(*, are_answers_scripted: bool = False, judge: str = "gpt-x") -> Run:
    metrics = {"id_context_recall_file": False, "faithfulness": True}
    models = {"judge": judge, "answer": "", "embedding": ""}
    return Run("keeper", metrics, models, {"gpt-x": Price(1, 2)}, {"limit": 8}, are_answers_scripted)


def line(name: str, faithfulness: float | None, reason: str = "", **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "category": "usage",
        "language": "python",
        "repository": "keeper",
        "has_reference": False,
        "mode": "generative",
        "abstained": False,
        "scores": {"id_context_recall_file": 1.0, "faithfulness": faithfulness},
        "reasons": {"faithfulness": reason} if faithfulness is None else {},
        "tokens": {"judge prompt": 1_000_000, "judge completion": 500_000, "answer prompt": 0},
        "calls": {"judge": 3},
        "is_judge_scripted": False,
        **more,
    }


def test_what_could_not_be_scored_is_counted_with_its_reason_and_is_no_zero() -> None:
    figures = result(run(), [line("a", 1.0), line("b", 0.5), line("c", None, "abstained", abstained=True)])
    told = figures["metrics"]["faithfulness"]
    assert (told["mean"], told["scored"], told["of"], told["not_scored"]) == (0.75, 2, 3, {"abstained": 1})
    assert figures["headline"]["abstained"] == 1
    assert figures["headline"]["written"] == 2
    assert "| faithfulness | 0.750 [0.500, 1.000] | 2 of 3 | abstained (1) |" in tables(run(), figures)


def test_a_metric_that_nothing_could_be_scored_by_has_no_figure() -> None:
    figures = result(run(), [line("a", None, "no reference")])
    assert figures["headline"]["faithfulness"] is None
    assert "| faithfulness | - | 0 of 1 | no reference (1) |" in tables(run(), figures)


def test_one_scripted_verdict_labels_every_table_that_a_judge_has_a_part_in() -> None:
    lines = [line("a", 1.0, category="error"), line("b", 1.0, is_judge_scripted=True)]
    report = tables(run(), result(run(), lines))
    for section in report.split("\n## "):
        assert (SCRIPTED_JUDGE in section) is not section.startswith("Without a judge")
    assert SCRIPTED_ANSWERS not in report


def test_scripted_answers_label_every_table() -> None:
    scripted = run(are_answers_scripted=True)
    report = tables(scripted, result(scripted, [line("a", 1.0)]))
    assert all(SCRIPTED_ANSWERS in section for section in report.split("\n## "))


def test_nothing_is_labelled_where_nothing_is_scripted() -> None:
    report = tables(run(), result(run(), [line("a", 1.0)]))
    assert "script" not in report


def test_groups_are_told_where_there_are_several() -> None:
    lines = [line("a", 1.0, category="error"), line("b", 0.0)]
    figures = result(run(), lines)
    assert figures["groups"]["category"]["usage"] == {
        "id_context_recall_file": 1.0,
        "faithfulness": 0.0,
        "questions": 1,
    }
    report = tables(run(), figures)
    assert "| by category | error (1) | usage (1) |" in report
    assert "By language" not in report


def test_the_cost_is_by_model_and_what_has_no_price_is_named() -> None:
    figures = result(run(), [line("a", 1.0), line("b", 1.0, tokens={"answer prompt": 7})])
    assert figures["headline"]["cost"] == 2.0  # a million tokens at 1, half a million at 2
    assert figures["headline"]["cost_without"] == ["answer"]
    assert "2.0000 at the prices given, without answer" in tables(run(), figures)


def test_no_price_is_no_cost_of_nothing() -> None:
    assert money({"judge prompt": 5}, {"judge": "m"}, {}) == (None, ["judge"])
    assert money({"judge prompt": 0}, {"judge": "m"}, {}) == (None, [])
    assert total([{"b": 1, "a": 2}, {"b": 3}]) == {"a": 2, "b": 4}


def test_a_price_is_read_with_its_model() -> None:
    assert price("org/model=x=0.15/0.6") == ("org/model=x", Price(0.15, 0.6))
    assert price("local=1") == ("local", Price(1, 0))
    for wrong in ("=1/2", "m=", "m=a/b", "m=-1/2", "m=nan/1"):
        with pytest.raises(argparse.ArgumentTypeError, match="PROMPT/COMPLETION"):
            price(wrong)
