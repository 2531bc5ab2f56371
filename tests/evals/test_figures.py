"""Figures and report: what is compared with what, and what is never shown."""

from pathlib import Path

import pytest

from evals.check_questions import easy
from evals.core.ranking import Ranking
from evals.report.figures import Scored, headline, scored
from evals.report.write import Part, write
from search_eval.golden import Question
from tests.evals.laid import question, ranking

QUESTIONS = [
    question(1, category="symbol", repository="seen"),
    question(2, category="behaviour", repository="seen"),
    question(3, category="symbol", repository="unseen"),
    question(4, category="behaviour", repository="unseen"),
    Question("q-2-ko", "query 2 in Korean", question(2).gold, "behaviour", "", "seen"),
]
SECOND = 0.6309297535714575  # NDCG of the only gold at rank 2


def half(one: Question) -> str:
    return "development" if one.repository == "seen" else "held-out"


def at(*ranks: int | None) -> dict[str, Ranking]:
    return {one.id: ranking(rank) for one, rank in zip(QUESTIONS, ranks, strict=True)}


def ours(**systems: dict[str, Ranking]) -> Scored:
    return scored("ours", QUESTIONS, systems, half, lambda one: one.id.endswith("-ko"))


def test_the_headline_is_over_all_questions_and_korean_ones_are_apart() -> None:
    one = ours(
        product=at(1, 2, 1, None, 2), no_model=at(1, None, 1, None, 1), bm25=at(1, None, None, None, 1),
        ripgrep=at(1, 2, None, None, 1),
    )  # fmt: skip
    figures = headline([one])
    assert figures["ndcg10"] == pytest.approx((2 + SECOND) / 4, abs=1e-4)
    assert figures["ndcg10_no_model"] == 0.5
    assert figures["symbol_ndcg10"] == 1.0
    assert figures["unseen_ndcg10"] == 0.5
    assert figures["korean_ndcg10"] == pytest.approx(SECOND, abs=1e-4)
    assert figures["best_baseline_ndcg10"] == pytest.approx((1 + SECOND) / 4, abs=1e-4)  # ripgrep, not bm25
    assert figures["gain_over_best_baseline"] == pytest.approx(0.25)
    assert figures["p_value"] == 1.0  # one question of four is chance
    assert figures["unseen_gain_over_best_baseline"] == 0.5


def test_p_is_that_of_the_product_against_the_best_baseline_on_the_same_questions() -> None:
    one = ours(product=at(1, 1, 1, 1, 2), bm25=at(2, 2, 2, 2, 1), dense=at(None, None, None, None, 1))
    assert headline([one])["p_value"] == 2 / 2**4  # four pairs, all won by as much: that, or all lost
    assert one.p("bm25", "product", one.questions) == one.p("product", "bm25", one.questions)
    assert one.p("product", "bm25", one.questions[:2]) == 2 / 2**2


def test_what_was_not_measured_is_none_and_not_zero() -> None:
    figures = headline([ours(product=at(1, 1, 1, 1, 1))])
    assert figures["ndcg10"] == 1.0
    assert figures["best_baseline_ndcg10"] is None
    assert figures["ndcg10_no_model"] is None
    assert set(headline([])) >= {"ndcg10", "unseen_ndcg10", "p_value"}


def test_other_sets_have_figures_of_their_own() -> None:
    one = scored("cosqa", QUESTIONS[:2], {"product": at(1, 2, 1, 1, 1), "llamaindex": at(2, 2, 1, 1, 1)})
    figures = headline([one])
    assert figures["cosqa_ndcg10"] == pytest.approx((1 + SECOND) / 2, abs=1e-4)
    assert figures["cosqa_llamaindex_ndcg10"] == pytest.approx(SECOND, abs=1e-4)
    assert figures["ndcg10"] is None


def test_a_group_that_is_behind_its_better_arm_is_named() -> None:
    one = ours(product=at(1, 2, 1, 1, 1), bm25=at(1, 1, 2, 1, 1), dense=at(2, 2, 2, 2, 1))
    behind = {group: (count, arm) for group, count, arm, _ in one.behind_an_arm()}
    assert behind == {
        "category: behaviour": (2, "bm25"),
        "half: development": (2, "bm25"),
        "repository: seen": (2, "bm25"),
    }
    assert one.behind_an_arm()[0][3] == pytest.approx((SECOND - 1) / 2)


def test_the_report_has_tables_plots_and_misses_and_shows_no_held_out_question(tmp_path: Path) -> None:
    systems = {
        "product": at(1, None, 1, None, 2),
        "bm25": at(2, None, 2, None, 2),
        "without_stem_boost": at(1, None, 2, None, 2),
    }
    one = ours(**systems)
    folder = write(
        [Part(one, systems, {"ours-seen": 7})], headline([one]), {"commit": "abc"}, ["cosqa did not run."], tmp_path
    )
    text = (folder / "report.md").read_text()
    for wanted in ("commit: abc", "cosqa did not run.", "| product |", "| stem_boost |", "category: symbol", "ours.svg",
                   "| held-out | 2 |", '"query 2"', "not measured"):  # fmt: skip
        assert wanted in text, wanted
    assert "query 4" not in text  # missed as well, and held out
    assert (folder / "ours.svg").read_text().startswith("<svg")
    assert (folder / "ours.json").exists()
    assert (folder / "headline.json").exists()


def test_a_question_is_easy_where_any_search_by_words_has_its_file_first() -> None:
    found = easy(QUESTIONS[:4], {"ripgrep": at(1, 2, 2, None, 1), "bm25": at(2, 1, 3, None, 1)})
    assert [(one.id, ranks) for one, ranks in found.questions] == [
        ("q-1", {"ripgrep": 1, "bm25": 2}),
        ("q-2", {"ripgrep": 2, "bm25": 1}),
    ]
    assert found.share == 0.5
