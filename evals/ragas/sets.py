"""Question sets: golden questions, and the reference answers that some of them have."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from search_eval import golden


@dataclass(frozen=True, slots=True)
class Task:
    """A question with its golden places. reference: the answer of a colleague; "" where nobody wrote one."""

    question: golden.Question
    reference: str = ""


def read_sets(paths: Sequence[Path]) -> list[Task]:
    """All questions of the files, in order; one whose row names no repository is asked in that of the file's name.

    Fails with golden.BadQuestion, which names the row, also where an id is in two files.
    """
    tasks: dict[str, Task] = {}
    own: dict[str, str] = {}
    for path in paths:
        own.update(read_references(path))
        for question in golden.read(path):
            if question.id in tasks:
                raise golden.BadQuestion(f"{path}: the id {question.id} is in another file, too")
            tasks[question.id] = Task(replace(question, repository=question.repository or path.stem))
    return [replace(task, reference=own.get(name, "")) for name, task in tasks.items()]


def read_references(path: Path) -> dict[str, str]:
    """The reference answers in a file of rows {"id", "reference"}, whatever else they hold. Fails with BadQuestion."""
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        try:
            row = json.loads(line) if line.strip() else {}
            if row.get("reference"):
                found[str(row["id"])] = str(row["reference"])
        except (ValueError, KeyError, AttributeError) as exc:
            raise golden.BadQuestion(f"{path}:{number}: {exc!r}") from exc
    return found
