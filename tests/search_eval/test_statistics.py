"""Intervals and tests: exact where they can be counted by hand, and right on cases whose answer is known."""

import random

import pytest

from search_eval.statistics import Interval, interval, paired_interval, permutation_p


def test_an_interval_of_equal_values_is_a_point() -> None:
    assert interval([0.5] * 20) == Interval(0.5, 0.5, 0.5)


def test_an_interval_is_as_wide_as_the_normal_approximation_says() -> None:
    # 400 coins: the mean's standard error is sqrt(.25 / 400) = .025, so 95 % lie within 1.96 of it.
    found = interval([0.0, 1.0] * 200)
    assert found.mean == 0.5
    assert found.low == pytest.approx(0.5 - 0.049, abs=0.004)  # the bootstrap's own noise, and steps of 1/400
    assert found.high == pytest.approx(0.5 + 0.049, abs=0.004)


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly() -> None:
    values = [random.Random(7).random() for _ in range(50)]
    values = [value * number / 50 for number, value in enumerate(values)]
    assert interval(values) == interval(values)
    assert interval(values, seed=1) != interval(values)
    assert interval(values, seed=1).low == pytest.approx(interval(values).low, abs=0.01)


def test_pairs_are_drawn_together_so_a_constant_gain_has_no_width() -> None:
    theirs = [0.1, 0.9, 0.4, 0.0]
    found = paired_interval([value + 0.1 for value in theirs], theirs)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_the_permutation_test_counts_all_swaps_of_few_pairs() -> None:
    # Three pairs, all won by 1: of the 8 ways to swap, the one seen and its mirror are as extreme.
    assert permutation_p([1, 1, 1], [0, 0, 0]) == 0.25
    # 1 + 1 - 1: every way has |sum| of 1 or 3, so all are as extreme.
    assert permutation_p([1, 1, 0], [0, 0, 1]) == 1.0
    # Differences 3, 1: sums are 4, 2, -2, -4.
    assert permutation_p([3, 1], [0, 0]) == 0.5


def test_ties_neither_help_nor_harm() -> None:
    assert permutation_p([1, 1, 1] + [0.3] * 500, [0, 0, 0] + [0.3] * 500) == 0.25
    assert permutation_p([0.5] * 30, [0.5] * 30) == 1.0


def test_a_clear_gain_over_many_pairs_is_significant_and_noise_is_not() -> None:
    chance = random.Random(3)
    theirs = [chance.random() for _ in range(100)]
    noise = [value + chance.gauss(0, 0.3) for value in theirs]
    gain = [value + 0.2 for value in noise]
    assert permutation_p(gain, theirs) < 0.001
    assert permutation_p(noise, theirs) > 0.05
    assert permutation_p(gain, theirs) == permutation_p(theirs, gain)  # two-sided
    assert permutation_p(gain, theirs) >= 1 / 10_001


def test_under_the_null_one_test_in_twenty_is_significant() -> None:
    chance = random.Random(11)
    found = [
        permutation_p([chance.gauss(0, 1) for _ in range(20)], [chance.gauss(0, 1) for _ in range(20)], resamples=400)
        for _ in range(400)
    ]
    assert 0.02 < sum(p <= 0.05 for p in found) / 400 < 0.09  # .05, give or take 3.5 standard errors


@pytest.mark.parametrize(("ours", "theirs"), [([1.0], [1.0, 2.0]), ([], [])])
def test_what_cannot_be_paired_is_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        permutation_p(ours, theirs)
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_interval(ours, theirs)
