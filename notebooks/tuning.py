"""What tuning finds and what is left of it: settings are scored on one half of the questions, and on the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx
import numpy as np
from numpy.typing import NDArray

from notebooks import asking
from search_eval import metrics
from search_eval.golden import Question


@dataclass(frozen=True, slots=True)
class Halves:
    """Gains over the defaults, one each time that the questions were halved: on the tuned half, and on the other."""

    tuned: NDArray[np.float64]
    other: NDArray[np.float64]


def scored(
    client: httpx.Client, repository: str, questions: Sequence[Question], ranking: Mapping[str, float]
) -> list[float]:
    """NDCG@10 of spans of each question, with these weights and all others at their defaults."""
    asked = asking.ask_all(client, repository, questions, limit=metrics.DEPTH, ranking=dict(ranking))
    return [one.ndcg for one in asked]


def curve(
    client: httpx.Client, repository: str, questions: Sequence[Question], weight: str, values: Sequence[float]
) -> list[float]:
    """The mean NDCG@10 of spans at each value of a weight."""
    return [sum(scored(client, repository, questions, {weight: value})) / len(questions) for value in values]


def movable(client: httpx.Client, repository: str) -> dict[str, float]:
    """The default of each weight that does something in this stack: a reranker's share does nothing without one."""
    told = client.get(f"/v1/repositories/{repository}/ranking").raise_for_status().json()
    return {name: value for name, value in told["defaults"].items() if name not in told["idle"]}


def near(weights: Mapping[str, float], reach: float) -> dict[str, tuple[float, float]]:
    """Bounds around each weight that lies in [0, 1], cut to it; a number of chunks is no such weight."""
    inside = {name: value for name, value in weights.items() if 0 <= value <= 1}
    return {name: (max(0.0, value - reach), min(1.0, value + reach)) for name, value in inside.items()}


def random_settings(bounds: Mapping[str, tuple[float, float]], count: int, seed: int = 0) -> list[dict[str, float]]:
    """Settings drawn evenly between bounds: random search, which finds what a grid does with fewer tries.

    Source: Bergstra and Bengio 2012.
    """
    random = np.random.default_rng(seed)
    return [
        {name: round(float(random.uniform(low, high)), 2) for name, (low, high) in bounds.items()} for _ in range(count)
    ]


def by_halves(scores: Sequence[Sequence[float]], default: Sequence[float], times: int = 500, seed: int = 0) -> Halves:
    """Halve the questions at random, take the setting that is best on one half, and see what it is worth on the other.

    scores: (settings, questions), of each question under each setting; default: (questions,), under the defaults.
    """
    table = np.asarray(scores, dtype=np.float64) - np.asarray(default, dtype=np.float64)  # gains
    random = np.random.default_rng(seed)
    questions = table.shape[1]
    tuned, other = [], []
    for _ in range(times):
        order = random.permutation(questions)
        half, rest = order[: questions // 2], order[questions // 2 :]
        best = int(np.argmax(table[:, half].mean(axis=1)))
        tuned.append(float(table[best, half].mean()))
        other.append(float(table[best, rest].mean()))
    return Halves(np.asarray(tuned), np.asarray(other))
