"""Looks for better weights, one at a time, within a budget. Pure: how good a set is, the caller measures."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# One value a question for these weights, of the questions with these indexes.
Score = Callable[[Mapping[str, float], Sequence[int]], Sequence[float]]

# A step is taken only where it gains this much on average: less is worth no weight that differs from the default.
LEAST_GAIN = 0.002

# Steps of a weight, as parts of its range: first far, then near.
STEPS = (0.25, 0.1)

# The part of the questions after which a trial that is not ahead is given up. Half of the searches are saved so.
FIRST_LOOK = 1 / 3


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between what a weight lies."""

    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One weight at another value: mean gain over the best so far, on the questions looked at; and whether taken."""

    name: str
    value: float
    gain: float
    is_taken: bool


@dataclass(slots=True)
class Found:
    """The best weights and one score a question for them. searches: how many were made; is_over: not cut by budget."""

    weights: dict[str, float]
    scores: list[float]
    searches: int = 0
    is_over: bool = True
    trials: list[Trial] = field(default_factory=list)


def coordinate_search(
    start: Mapping[str, float],
    bounds: Mapping[str, Bounds],
    questions: int,
    score: Score,
    budget: int,
    on_trial: Callable[[Found], None] = lambda found: None,
) -> Found:
    """Weights that do better than `start` on average, found by moving one at a time; `start` where none do.

    start: all weights. bounds: of those that may move. questions: how many there are, at least one. budget: searches at
    most; one search is one question under one set of weights. Each weight in turn is tried a step up and down, and goes
    on the way that gains; then once more with smaller steps. The same input, the same result.
    """
    order = list(range(questions))
    random.Random(0).shuffle(order)
    first, rest = order[: max(1, round(questions * FIRST_LOOK))], order[max(1, round(questions * FIRST_LOOK)) :]
    found = Found(dict(start), list(score(start, range(questions))), questions)
    for step in STEPS:
        for name in bounds:
            going = 0  # the way that gained
            for way, value in _values(found, name, bounds[name], step):
                if going and way != going:
                    continue
                if found.searches + questions > budget:
                    found.is_over = False
                    return found
                trial = _tried(found, name, value, first, rest, score)
                if trial.is_taken:
                    going = way
                on_trial(found)
    return found


def _values(found: Found, name: str, bounds: Bounds, step: float) -> Iterator[tuple[int, float]]:
    """(way, value): a step up, a step down, and further on while the weight moves that way."""
    width = step * (bounds.highest - bounds.lowest)
    for way in (1, -1):
        while True:
            now = found.weights[name]
            value = round(min(bounds.highest, max(bounds.lowest, now + way * width)), 4)
            if value == now:
                break
            yield way, value
            if found.weights[name] != value:
                break


def _tried(found: Found, name: str, value: float, first: Sequence[int], rest: Sequence[int], score: Score) -> Trial:
    """Measure one move, take it where it gains, and note it."""
    weights = {**found.weights, name: value}
    scores = dict(zip(first, score(weights, first), strict=True))
    found.searches += len(first)
    if _gain(scores, found.scores) > 0 and rest:
        scores.update(zip(rest, score(weights, rest), strict=True))
        found.searches += len(rest)
    gain = _gain(scores, found.scores)
    is_taken = len(scores) == len(found.scores) and gain >= LEAST_GAIN
    if is_taken:
        found.weights, found.scores = weights, [scores[index] for index in range(len(scores))]
    found.trials.append(Trial(name, value, gain, is_taken))
    return found.trials[-1]


def _gain(scores: Mapping[int, float], best: Sequence[float]) -> float:
    return sum(value - best[index] for index, value in scores.items()) / len(scores)
