"""Metrics against values computed by hand."""

import pytest

from search_eval.golden import Gold
from search_eval.metrics import (
    Found,
    by_file,
    by_span,
    first_rank,
    hit,
    measured,
    ndcg,
    overlaps,
    recall,
    reciprocal_rank,
    tokens_to_gold,
)

T, F = True, False


@pytest.mark.parametrize(
    ("right", "golds", "expected"),
    [
        ([T], 1, 1.0),
        ([F, T], 1, 0.6309297535714575),  # 1 / log2(3)
        ([F, F, T], 1, 0.5),  # 1 / log2(4)
        ([F, F, F], 1, 0.0),
        ([], 1, 0.0),
        ([T, T], 2, 1.0),
        ([T, F, T], 2, 0.9197207891481876),  # (1 + 1/2) / (1 + 1/log2(3))
        ([T], 2, 0.6131471927654584),  # 1 / (1 + 1/log2(3))
        ([F] * 10 + [T], 1, 0.0),  # rank 11 is out of sight
        ([T] * 10, 12, 1.0),  # no ranking of ten can show twelve
    ],
)
def test_ndcg_is_what_the_formula_gives_by_hand(right: list[bool], golds: int, expected: float) -> None:
    assert ndcg(right, golds) == pytest.approx(expected, abs=1e-12)


def test_reciprocal_rank_is_of_the_first_right_answer_within_ten() -> None:
    assert reciprocal_rank([F, F, F, T, T]) == 0.25
    assert reciprocal_rank([F] * 10 + [T]) == 0.0


def test_recall_is_a_share_of_all_golds_and_hit_asks_for_one() -> None:
    right = [T, F, F, F, F, T]
    assert [recall(right, 4, k) for k in (1, 5, 10)] == [0.25, 0.25, 0.5]
    assert [hit([F, F, T], k) for k in (1, 2, 3)] == [0.0, 0.0, 1.0]
    assert first_rank([F, T]) == 2
    assert first_rank([F]) is None


def test_a_file_ranks_where_its_first_hit_ranks() -> None:
    found = [
        Found("a.py", 1, 9),
        Found("a.py", 20, 30),
        Found("b.py", 1, 5),
        Found("a.py", 40, 50),
        Found("c.py", 1, 2),
    ]
    assert by_file(found, [Gold("b.py", 100, 110)]) == [F, T, F]  # lines do not matter for a file


def test_a_span_is_met_by_one_shared_line_and_counts_once() -> None:
    gold = [Gold("a.py", 10, 20), Gold("b.py", 1, 3)]
    found = [
        Found("a.py", 1, 9),  # ends just before
        Found("a.py", 20, 40),  # shares line 20
        Found("a.py", 12, 14),  # inside, but that gold has been found
        Found("c.py", 10, 20),
        Found("b.py", 3, 3),
    ]
    assert by_span(found, gold) == [F, T, F, F, T]


def test_a_hit_over_two_golds_counts_for_one_and_leaves_the_other_to_the_next() -> None:
    gold = [Gold("a.py", 1, 5), Gold("a.py", 6, 9)]
    assert by_span([Found("a.py", 1, 9), Found("a.py", 7, 8)], gold) == [T, T]


def test_a_gold_file_is_met_by_any_of_its_lines_and_a_found_file_meets_any_span_of_it() -> None:
    assert overlaps(Found("a.py", 700, 710), Gold("a.py"))
    assert overlaps(Found("a.py"), Gold("a.py", 5, 6))
    assert not overlaps(Found("b.py"), Gold("a.py"))


def test_tokens_are_counted_up_to_and_with_the_hit_that_answers() -> None:
    found = [Found("x.py", 1, 2, chars=8), Found("a.py", 1, 2, chars=5), Found("a.py", 3, 4, chars=400)]
    assert tokens_to_gold(found, [Gold("a.py", 2, 2)]) == 2 + 2  # 8 / 4, and 5 / 4 rounded up
    assert tokens_to_gold(found, [Gold("z.py")]) is None


def test_all_metrics_of_a_question_by_name() -> None:
    found = [Found("a.py", 1, 9, 40), Found("b.py", 1, 9, 40), Found("a.py", 10, 19, 40)]
    values = measured(found, [Gold("a.py", 15, 16)])
    assert values["ndcg10"] == 1.0
    assert values["span_ndcg10"] == 0.5
    assert values["span_mrr10"] == pytest.approx(1 / 3)
    assert (values["recall1"], values["span_recall1"], values["span_recall5"]) == (1.0, 0.0, 1.0)
    assert (values["hit1"], values["span_hit1"], values["span_hit5"]) == (1.0, 0.0, 1.0)
    assert values["tokens_to_gold"] == 30.0
    assert "tokens_to_gold" not in measured(found, [Gold("z.py")])
