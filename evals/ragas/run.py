"""The loop of a run: a question is asked, scored and kept, and the next one."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from evals.ragas.asking import Stack
from evals.ragas.cost import total
from evals.ragas.journal import Journal
from evals.ragas.judge import score
from evals.ragas.metrics import Metric
from evals.ragas.samples import sample
from evals.ragas.sets import Task
from evals.ragas.tape import scope

Say = Callable[[str], None]


async def evaluate(
    tasks: Sequence[Task],
    stack: Stack,
    metrics: Sequence[Metric],
    journal: Journal,
    parallel: int,
    say: Say,
    spent: Callable[[Mapping[str, int]], str],
) -> None:
    """Ask and score what the journal lacks, `parallel` questions at a time, each kept as soon as it is finished.

    spent: what so many tokens cost, in words for the progress that is said.
    Fails as Stack does, and with JudgeAway and NotRecorded; the questions under way are then dropped.
    """
    waiting = [task for task in tasks if task.question.id not in journal.done]
    if waiting:
        with scope("the repositories"):
            await stack.learn()
        waiting = stack.unfinished(tasks, journal.done)
    if len(waiting) < len(tasks):
        say(f"{len(tasks) - len(waiting)} of {len(tasks)} questions are finished already")
    door = asyncio.Semaphore(parallel)

    async def one(task: Task) -> None:
        async with door:
            line = await _line(task, stack, metrics)
        journal.finish(line)
        tokens = total([done["tokens"] for done in journal.done.values()])
        told = f"{sum(tokens.values()):,} tokens so far{spent(tokens)}"
        say(f"{len(journal.done)}/{len(tasks)} {task.question.id}; {told}")

    running = [asyncio.create_task(one(task)) for task in waiting]
    try:
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _line(task: Task, stack: Stack, metrics: Sequence[Metric]) -> dict[str, Any]:
    """Ask one question and score it: what the journal keeps."""
    question = task.question
    with scope(question.id) as asked:
        one = await sample(stack, task)
    scores, reasons = {}, {}
    tokens: Counter[str] = Counter()
    calls, is_scripted = Counter(asked.calls), False
    for metric in metrics:
        with scope(f"{question.id} {metric.name}") as judged:
            scored = await score(metric, one)
        scores[metric.name] = scored.value
        if scored.value is None:
            reasons[metric.name] = scored.reason
        tokens.update(judged.tokens)
        calls.update(judged.calls)
        is_scripted |= judged.is_scripted
    usage = one.answer.usage
    tokens["answer prompt"] += usage.get("prompt_tokens", 0)
    tokens["answer completion"] += usage.get("completion_tokens", 0)
    return {
        "id": question.id,
        "query": question.query,
        "repository": question.repository,
        "repository_id": stack.repository(question.repository),
        "category": question.category,
        "language": question.language,
        "has_reference": bool(task.reference),
        "mode": one.answer.mode,
        "abstained": one.answer.abstained,
        "answer": one.answer.text,
        "cited": [asdict(cited.passage) | {"index": cited.index} for cited in one.answer.citations],
        "scores": scores,
        "reasons": reasons,
        "tokens": dict(sorted(tokens.items())),
        "calls": dict(sorted(calls.items())),
        "is_judge_scripted": is_scripted,
    }
