"""Weights are looked for one at a time, within bounds and a budget, and moved only where that gains."""

from collections.abc import Mapping, Sequence

import pytest

from search_eval.coordinates import Bounds, Found, coordinate_search

BOUNDS = {"share": Bounds(0, 1), "boost": Bounds(0, 1), "per_file": Bounds(0, 8)}
START = {"share": 0.5, "boost": 0.5, "per_file": 4.0}


class Landscape:
    """Scores that are best at `best`; counts the searches and holds every set that was tried."""

    def __init__(self, **best: float):
        self.best = best
        self.searches = 0
        self.tried: list[Mapping[str, float]] = []

    def __call__(self, weights: Mapping[str, float], questions: Sequence[int]) -> list[float]:
        self.searches += len(questions)
        self.tried.append(dict(weights))
        miss = sum(abs(weights[name] - value) / BOUNDS[name].highest for name, value in self.best.items())
        return [1 - miss + 0.01 * question for question in questions]


def test_it_goes_to_the_best_values_and_leaves_alone_what_changes_nothing() -> None:
    found = coordinate_search(START, BOUNDS, 30, Landscape(share=0.9, boost=0.0), 100_000)
    assert found.weights == {"share": pytest.approx(0.9, abs=0.06), "boost": 0, "per_file": 4}
    assert sum(found.scores) > sum(Landscape(share=0.9, boost=0.0)(START, range(30)))
    assert found.is_over


def test_where_nothing_gains_the_start_stays() -> None:
    found = coordinate_search(START, BOUNDS, 30, lambda weights, questions: [0.5 for _ in questions], 100_000)
    assert (found.weights, any(trial.is_taken for trial in found.trials)) == (START, False)


def test_a_gain_too_small_to_matter_is_not_taken() -> None:
    def score(weights: Mapping[str, float], questions: Sequence[int]) -> list[float]:
        return [0.5 + 0.001 * weights["share"] for _ in questions]

    assert coordinate_search(START, BOUNDS, 30, score, 100_000).weights == START


def test_a_gain_of_the_first_questions_alone_is_not_taken() -> None:
    seen: list[set[int]] = []

    def score(weights: Mapping[str, float], questions: Sequence[int]) -> list[float]:
        seen.append(set(questions))
        lucky = seen[1] if len(seen) > 1 else set()
        better = weights["share"] != START["share"]
        return [0.5 + (0.1 if question in lucky else -0.2) * better for question in questions]

    assert coordinate_search(START, {"share": Bounds(0, 1)}, 30, score, 100_000).weights == START


def test_no_value_leaves_its_bounds() -> None:
    landscape = Landscape(share=2.0, boost=-1.0, per_file=99)
    found = coordinate_search(START, BOUNDS, 10, landscape, 100_000)
    assert found.weights == {"share": 1, "boost": 0, "per_file": 8}
    for weights in landscape.tried:
        assert all(BOUNDS[name].lowest <= value <= BOUNDS[name].highest for name, value in weights.items())


@pytest.mark.parametrize("budget", [30, 59, 60, 100, 200])
def test_a_budget_is_kept_and_what_was_found_until_then_is_given(budget: int) -> None:
    landscape = Landscape(share=0.9)
    found = coordinate_search(START, BOUNDS, 30, landscape, budget)
    assert found.searches == landscape.searches <= budget
    assert not found.is_over


def test_each_trial_is_told() -> None:
    told: list[str] = []

    def tell(found: Found) -> None:
        told.append(found.trials[-1].name)

    found = coordinate_search(START, BOUNDS, 10, Landscape(share=0.9), 100_000, tell)
    assert told == [trial.name for trial in found.trials]
    assert {"share", "boost", "per_file"} == set(told)
