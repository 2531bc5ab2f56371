"""The loop: every question of every batch is asked of every system, and what they answer is kept as it comes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from time import monotonic

from evals.core.indexing import Index
from evals.core.ranking import Kept, Ranking, System
from evals.core.task import Batch, Task
from search_eval.golden import Question
from search_eval.metrics import measured

TELL_EVERY_S = 20

# A run of an hour is no black box: figures of the questions so far.
SUM_EVERY_S = 60


@dataclass(slots=True)
class Answers:
    """What a task's systems answered: rankings by system and question. chunks: in the index at each batch's time."""

    task: str
    questions: list[Question] = field(default_factory=list)
    rankings: dict[str, dict[str, Ranking]] = field(default_factory=dict)
    chunks: dict[str, int] = field(default_factory=dict)


def answered(
    task: Task, systems: Sequence[System], index: Index | None, kept: Kept, say: Callable[[str], None]
) -> Answers:
    """Ask all questions. index: None where no system is the product. Fails as the systems do."""
    answers = Answers(task.name, rankings={system.name: {} for system in systems})
    began = told = summed = monotonic()
    wanted = len(task.questions)
    for batch in task.batches():
        repository = index.bring(batch) if index else ""
        if index and batch.repository not in answers.chunks:
            answers.chunks[batch.repository] = index.chunks(batch.repository)
        answers.questions.extend(batch.questions)
        for system in systems:
            answers.rankings[system.name].update(_asked(system, batch, repository, kept))
            if monotonic() - told > TELL_EVERY_S:
                told = monotonic()
                say(f"  {task.name}: {len(answers.questions)} of {wanted}, {system.name}, {told - began:.0f} s")
        if monotonic() - summed > SUM_EVERY_S:
            summed = monotonic()
            say(f"  {task.name}: NDCG@10 so far: {_so_far(answers)}")
    return answers


def _so_far(answers: Answers) -> str:
    means = []
    for name, of in answers.rankings.items():
        values = [measured(of[one.id].found, one.gold)["ndcg10"] for one in answers.questions]
        means.append(f"{name} {mean(values):.3f}")
    return ", ".join(means)


def _asked(system: System, batch: Batch, repository: str, kept: Kept) -> Mapping[str, Ranking]:
    known = kept.read(system, batch)
    if len(known) == len(batch.questions):
        return known
    system.prepare(batch, repository)
    rankings = {question.id: system.rank(question) for question in batch.questions}
    kept.write(system, batch, rankings)
    return rankings
