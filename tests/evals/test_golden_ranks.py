"""Accepted ranks: a planted regression is caught, and chance is not."""

from pathlib import Path

import pytest

from evals.core.golden_ranks import compared, ranks_of, read, said, verdict, write
from tests.evals.laid import question, ranking

BEFORE = {f"q-{n}": (1, 1) for n in range(40)}


def test_a_planted_regression_is_a_significant_loss_and_names_its_questions() -> None:
    after = {**BEFORE, **{f"q-{n}": (4, None) for n in range(10)}}
    change = compared(BEFORE, after)
    assert change.is_loss
    assert len(change.worse) == 10
    assert "q-3: file 1, span 1 -> file 4, span none" in said(change)
    assert "a significant loss" in said(change)


def test_one_question_that_falls_is_told_and_fails_nothing() -> None:
    change = compared(BEFORE, {**BEFORE, "q-0": (None, None)})
    assert change.loss == pytest.approx(1 / 40)
    assert not change.is_loss  # it may be chance
    assert change.worse == ["q-0: file 1, span 1 -> file none, span none"]


def test_a_small_loss_over_many_questions_fails_nothing() -> None:
    many = {f"q-{n}": (1, 1) for n in range(3_000)}
    change = compared(many, {**many, **{f"q-{n}": (2, 2) for n in range(30)}})
    assert change.p < 0.05
    assert 0 < change.loss < 0.01
    assert not change.is_loss


def test_a_gain_is_no_loss() -> None:
    worse = dict.fromkeys(BEFORE, (5, 5))
    change = compared(worse, BEFORE)
    assert not change.is_loss
    assert len(change.better) == 40


def test_ranks_out_of_sight_are_all_alike() -> None:
    assert compared({"q": (11, None)}, {"q": (40, None)}).loss == 0.0


def test_questions_that_are_new_are_left_alone_and_no_common_one_is_an_error() -> None:
    assert compared(BEFORE, {**BEFORE, "new": (None, None)}).questions == 40
    with pytest.raises(ValueError, match="--accept"):
        compared({}, BEFORE)


def test_ranks_are_read_back_and_written_one_a_line(tmp_path: Path) -> None:
    questions = [question(1), question(2)]
    ranks = ranks_of(questions, {"q-1": ranking(3), "q-2": ranking(None)})
    assert ranks == {"q-1": (3, 3), "q-2": (None, None)}
    path = write("ours", ranks, tmp_path)
    assert read("ours", tmp_path) == ranks
    assert len(path.read_text().splitlines()) == 4
    assert read("others", tmp_path) == {}


def test_a_change_lands_where_nothing_is_lost_and_the_planted_regression_is_caught() -> None:
    regression = dict.fromkeys(BEFORE, (3, 3))
    may_land, text = verdict(BEFORE, BEFORE, regression)
    assert may_land
    assert "a planted regression is caught" in text


def test_a_loss_does_not_land_and_neither_does_a_check_that_would_not_see_one() -> None:
    regression = dict.fromkeys(BEFORE, (3, 3))
    assert verdict(BEFORE, regression, regression)[0] is False
    may_land, text = verdict(BEFORE, BEFORE, BEFORE)
    assert not may_land
    assert "the check is blind" in text
