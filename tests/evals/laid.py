"""Fakes of evals: a system whose rankings a test lays down, and questions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from evals.core.ranking import Ranking
from evals.core.task import Batch
from search_eval.golden import Gold, Question
from search_eval.metrics import Found


def question(number: int, **more: str) -> Question:
    """Its gold is lines 10 to 20 of right.py."""
    return Question(f"q-{number}", f"query {number}", (Gold("right.py", 10, 20),), **more)


def ranking(right_at: int | None, hits: int = 12) -> Ranking:
    """The gold file and span at this rank, other files around it."""
    found = [Found(f"wrong{n}.py", 1, 5, 40) for n in range(1, hits + 1)]
    if right_at is not None:
        found[right_at - 1] = Found("right.py", 8, 12, 40)
    return Ranking(tuple(found), 0.01)


@dataclass
class Laid:
    """A system that answers by a question's id."""

    answers: Mapping[str, Ranking]
    name: str = "laid"
    version: str = ""
    prepared: list[Batch] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def prepare(self, batch: Batch, repository: str) -> None:
        self.prepared.append(batch)

    def rank(self, question: Question) -> Ranking:
        self.asked.append(question.id)
        return self.answers[question.id]
