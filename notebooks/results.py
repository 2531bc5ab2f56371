"""Values of an evaluation, by system and question: of one made here, or of one that `make eval` wrote."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from notebooks.asking import Asked
from search_eval import metrics

# How the evaluation's ids of questions end that are another question's wording in Korean: its report tells them apart.
KOREAN = "-ko"

# system -> question's id -> metric -> value
Values = dict[str, dict[str, dict[str, float]]]


def small(answers: Mapping[str, Sequence[Asked]]) -> Values:
    """All metrics of every question, by the system that answered."""
    return {
        system: {one.question.id: metrics.measured(one.found, one.question.gold) for one in answered}
        for system, answered in answers.items()
    }


def written(task: str = "ours") -> Values | None:
    """A task of the evaluation in the folder that EVAL_RESULT names, as its headline has it; None where it is unset.

    Fails with FileNotFoundError where that folder holds no such task. Which tasks there are: *.json in it.
    """
    folder = os.environ.get("EVAL_RESULT")
    if not folder:
        return None
    values: Values = json.loads((Path(folder) / f"{task}.json").read_text("utf-8"))["values"]
    return {
        system: {question: row for question, row in of.items() if not question.endswith(KOREAN)}
        for system, of in values.items()
    }


def column(values: Values, system: str, metric: str) -> list[float]:
    """One value a question, in the order of the first system's questions, so that two systems' pair."""
    order = next(iter(values.values()))
    return [values[system][question][metric] for question in order]
