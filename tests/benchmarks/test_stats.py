"""Percentiles and ratios, by hand."""

from benchmarks.core.stats import median_ratio, percentile


def test_a_percentile_is_a_value_that_occurred() -> None:
    hundred = [float(number) for number in range(100, 0, -1)]
    assert [percentile(hundred, percent) for percent in (1, 50, 99, 100)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 99) == 7.0
    assert percentile([1.0, 9.0], 50) == 1.0


def test_a_ratio_is_taken_within_each_round_and_its_median_told() -> None:
    # The machine is twice as slow in round 1, and one side hiccups in round 2.
    ours, theirs = {0: 20.0, 1: 10.0, 2: 2.0}, {0: 10.0, 1: 5.0, 2: 10.0}
    assert median_ratio(ours, theirs) == 2.0


def test_rounds_that_only_one_side_has_do_not_count() -> None:
    assert median_ratio({0: 6.0, 1: 100.0}, {0: 2.0, 2: 1.0}) == 3.0
    assert median_ratio({0: 6.0}, {1: 2.0}) is None
    assert median_ratio({0: 6.0}, {0: 0.0}) is None
