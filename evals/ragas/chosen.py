"""Which questions a run asks: of our packages by default, or of any sets with their folders of source."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from evals.core.task import Batch
from evals.ragas.sets import Task, read_references, read_sets
from evals.tasks.ours import Ours, packages
from search_eval.golden import Question, to_row

HALVES = ("development", "held-out")


class NothingChosen(Exception):
    """There is nothing to ask; the text says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """A repository, and what is asked of it. root, state, include: of its source, as a Batch has them."""

    repository: str
    root: Path
    state: str
    tasks: tuple[Task, ...]
    include: Sequence[str] = ()

    @property
    def batch(self) -> Batch:
        """What is indexed of it."""
        return Batch(self.repository, self.root, self.state, (), self.include)


def ours(half: str, names: str, cache: Path, say: Callable[[str], None], *, fetch: bool) -> list[Source]:
    """Our pinned packages of one half, or of these those that are named, fetched where they are not there.

    fetch: False where no stack will read them. Fails with NothingChosen, and as `unpacked` does.
    """
    if half not in HALVES:
        raise NothingChosen(f"{half!r} is no half; there are {', '.join(HALVES)}")
    of_half = {one.name: one for one in packages() if one.half == half}
    wanted = names.split(",") if names else list(of_half)
    if unknown := [name for name in wanted if name not in of_half]:
        raise NothingChosen(f"none of {', '.join(unknown)} is a package of the {half} half")
    pinned = [one for name, one in of_half.items() if name in wanted]
    if not fetch:
        return [Source(one.repository, Path(), "", _tasks(one.questions, one.repository)) for one in pinned]
    batches = Ours(pinned, cache, say).batches()
    return [Source(b.repository, b.root, b.state, _tasks(b.questions, b.repository), b.include) for b in batches]


def given(sets: Sequence[Path], roots: Sequence[Path]) -> list[Source]:
    """Sets of the user's own. roots: the folder that each asks about; none where a stack has indexed them already.

    Fails with NothingChosen where they do not go together, and with BadQuestion.
    """
    if roots and len(roots) != len(sets):
        raise NothingChosen(f"{len(sets)} sets and {len(roots)} folders of source: each set wants one")
    if missing := [str(root) for root in roots if not root.is_dir()]:
        raise NothingChosen(f"no folder: {', '.join(missing)}")
    found = []
    for number, path in enumerate(sets):
        tasks = tuple(read_sets([path]))
        if not tasks:
            raise NothingChosen(f"{path} has no question")
        root = roots[number].resolve() if roots else Path()
        found.append(Source(tasks[0].question.repository, root, str(root), tasks))
    return found


def write(
    path: Path, sources: Sequence[Source], references: Iterable[Path], first: int = 0, *, only_referenced: bool = False
) -> int:
    """The set as one file, which score.py reads, and which stays with the run; returns how many questions it has.

    references: their rows for questions that are not asked are left out. first: only so many, a set's turn after the
    other's; all where 0. only_referenced: only what has a reference. Fails with NothingChosen
    where none has, and where the file is there with other questions.
    """
    known = {name: text for one in references if one.exists() for name, text in read_references(one).items()}
    rows = []
    for turn in zip_longest(*(source.tasks for source in sources)):
        for task in turn:
            if task is not None:
                reference = known.get(task.question.id) or task.reference
                rows.append(to_row(task.question) | ({"reference": reference} if reference else {}))
    rows = [row for row in rows if not only_referenced or "reference" in row][: first or None]
    if not rows:
        raise NothingChosen("no question has a reference")
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    if path.exists() and path.read_text("utf-8") != text:
        raise NothingChosen(f"{path} has other questions: choose them as that run did, or take another --folder")
    path.write_text(text, "utf-8")
    return len(rows)


def title(sources: Sequence[Source]) -> str:
    """What is asked about, in words."""
    return ", ".join(source.repository for source in sources)


def _tasks(questions: Iterable[Question], repository: str) -> tuple[Task, ...]:
    return tuple(Task(replace(question, repository=repository)) for question in questions)
