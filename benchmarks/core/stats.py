"""Percentiles, and ratios by round: pure functions of numbers."""

import math
from collections.abc import Mapping, Sequence
from statistics import median


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` % of the values do not exceed (nearest rank), so one that occurred.

    values: at least one, in any order. percent: in (0, 100].
    """
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def median_ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> float | None:
    """The median over rounds of ours / theirs in the same round; None where no round has both.

    Ratios within a round, since a machine's speed drifts between rounds more than the two sides differ.
    """
    ratios = [ours[number] / theirs[number] for number in ours if number in theirs and theirs[number] > 0]
    return median(ratios) if ratios else None


def median_or_none(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return median(values) if values else None
