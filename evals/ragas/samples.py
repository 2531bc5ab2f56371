"""A question with all that its metrics look at: the answer, what was found, the golden places, the cited lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.ragas.asking import Answer, Passage, Stack
from evals.ragas.sets import Task
from search_eval.golden import Gold


@dataclass(frozen=True, slots=True)
class Sample:
    """gold_texts: the lines of golden spans, none for a whole file. cited: number -> its lines, as the stack has them.

    verified: of the citations, how many are of lines that the stack has, with the hash that the answer gave.
    """

    task: Task
    answer: Answer
    gold_texts: tuple[str, ...]
    cited: Mapping[int, str]
    verified: int

    @property
    def is_written(self) -> bool:
        """Whether a model wrote an answer: no extract, and no "the passages do not answer this"."""
        return self.answer.mode == "generative" and not self.answer.abstained


async def sample(stack: Stack, task: Task) -> Sample:
    """Ask the question, and fetch the lines of its golden spans and of what the answer cites. Fails as Stack does."""
    question = task.question
    repository = stack.repository(question.repository)
    answer = await stack.ask(question.query, repository)
    gold_texts = []
    for gold in question.gold:
        if not gold.is_file:
            lines = await stack.lines(Passage(repository, gold.path, gold.start_line, gold.end_line))
            gold_texts += [lines.text] if lines else []
    cited, verified = {}, 0
    for one in answer.citations:
        lines = await stack.lines(one.passage)
        if lines is not None:
            cited[one.index] = lines.text
            verified += lines.sha256 == one.sha256
    return Sample(task, answer, tuple(gold_texts), cited, verified)


def file_ids(passages: Sequence[Passage | Gold]) -> list[str]:
    """One id a file, in order of first appearance: its path in the repository."""
    return list(dict.fromkeys(one.path for one in passages))


def span_ids(passages: Sequence[Passage], gold: Sequence[Gold]) -> list[str]:
    """One id a passage: that of the golden span with which it shares most lines, else its own.

    A chunk rarely ends where a golden span does, so that equal bounds would count for nothing. Several passages of one
    golden span are one id, since Ragas compares sets. A golden whole file takes any passage of it.
    """
    return list(dict.fromkeys(_span_id(passage, gold) for passage in passages))


def gold_ids(gold: Sequence[Gold]) -> list[str]:
    """The ids of golden spans."""
    return list(dict.fromkeys(_id(one) for one in gold))


def _span_id(passage: Passage, gold: Sequence[Gold]) -> str:
    shared = [(_shared(passage, one), one) for one in gold]
    most = max((count for count, _ in shared), default=0)
    return next((_id(one) for count, one in shared if count == most > 0), _id(passage))


def _shared(passage: Passage, gold: Gold) -> int:
    """Lines in common."""
    if passage.path != gold.path:
        return 0
    if gold.is_file:
        return passage.end_line - passage.start_line + 1
    return max(0, min(passage.end_line, gold.end_line) - max(passage.start_line, gold.start_line) + 1)


def _id(place: Passage | Gold) -> str:
    return f"{place.path}:{place.start_line}-{place.end_line}" if place.end_line else place.path
