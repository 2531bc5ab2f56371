"""Every query's rank, kept beside the code: a change in ranking is read as a diff, and a significant loss fails.

One file a task: question's id -> [rank of the first gold file, rank of the first hit on a gold span], null for none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path

from evals.core.ranking import Ranking
from search_eval.golden import Question
from search_eval.metrics import DEPTH, by_file, by_span, first_rank
from search_eval.statistics import permutation_p

FOLDER = Path(__file__).resolve().parents[1] / "golden"

Ranks = Mapping[str, tuple[int | None, int | None]]

# A loss fails where it is larger than this, and less likely than that to be chance. Both: over 2,000 questions .002 may
# be significant and is no harm; over 20 a loss of .02 may be chance.
LOSS, P = 0.01, 0.05


@dataclass(frozen=True, slots=True)
class Change:
    """What became of the questions that both have. loss: of the mean gain of the first gold, file level."""

    better: Sequence[str]
    worse: Sequence[str]
    loss: float
    p: float
    questions: int

    @property
    def is_loss(self) -> bool:
        """Whether it is one that may not land."""
        return self.loss > LOSS and self.p < P


def ranks_of(questions: Sequence[Question], rankings: Mapping[str, Ranking]) -> Ranks:
    """The ranks of each question."""
    return {
        question.id: (
            first_rank(by_file(rankings[question.id].found, question.gold)),
            first_rank(by_span(rankings[question.id].found, question.gold)),
        )
        for question in questions
    }


def read(task: str, folder: Path = FOLDER) -> Ranks:
    """The ranks that were accepted last; {} where none were."""
    path = folder / f"{task}.json"
    return {one: (row[0], row[1]) for one, row in json.loads(path.read_text()).items()} if path.exists() else {}


def write(task: str, ranks: Ranks, folder: Path = FOLDER) -> Path:
    """Accept them, one question a line."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{task}.json"
    lines = [f" {json.dumps(one)}: {json.dumps(list(row))}" for one, row in sorted(ranks.items())]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return path


def compared(before: Ranks, after: Ranks) -> Change:
    """What changed. Gain of a question: 1 / log2(1 + rank of the first gold file) within ten, else 0.

    Fails with ValueError where they have no question in common.
    """
    both = [one for one in after if one in before]
    if not both:
        raise ValueError("no question has a rank that was accepted before: make eval ARGS=--accept")
    old, new = [_gain(before[one][0]) for one in both], [_gain(after[one][0]) for one in both]

    def line(one: str) -> str:
        return f"{one}: {_said(before[one])} -> {_said(after[one])}"

    better = [line(one) for one, a, b in zip(both, old, new, strict=True) if b > a]
    worse = [line(one) for one, a, b in zip(both, old, new, strict=True) if b < a]
    loss = (sum(old) - sum(new)) / len(both)
    return Change(better, worse, loss, permutation_p(old, new), len(both))


def said(change: Change) -> str:
    """The diff and the verdict, for who reads the log."""
    verdict = "a significant loss" if change.is_loss else "no significant loss"
    lines = [
        *(f"  worse   {line}" for line in change.worse),
        *(f"  better  {line}" for line in change.better),
        f"{change.questions} questions: {len(change.better)} better, {len(change.worse)} worse, mean gain "
        f"{-change.loss:+.4f}, p {change.p:.3f}: {verdict}",
    ]
    return "\n".join(lines)


def verdict(accepted: Ranks, ours: Ranks, planted: Ranks) -> tuple[bool, str]:
    """Whether it may land, and what to say. planted: of a known regression; where it passes, the check is blind."""
    change, regression = compared(accepted, ours), compared(accepted, planted)
    if not regression.is_loss:
        blind = f"the check is blind: a planted regression loses {regression.loss:.4f}, p {regression.p:.3f}"
        return False, f"{said(change)}\n{blind}"
    caught = f"(a planted regression is caught: it loses {regression.loss:.3f}, p {regression.p:.4f})"
    return not change.is_loss, f"{said(change)}\n{caught}"


def _gain(rank: int | None) -> float:
    return 1 / log2(1 + rank) if rank is not None and rank <= DEPTH else 0.0


def _said(row: tuple[int | None, int | None]) -> str:
    file, span = ("none" if rank is None else str(rank) for rank in row)
    return f"file {file}, span {span}"
