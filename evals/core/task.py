"""What is measured: a task is batches, a batch is a folder to index and the questions that are asked of it then."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from search_eval.golden import Question


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions of one state of one folder.

    repository: its name in the index; two batches of one repository are two states of it, one after the other, and the
    index is synced between them. state: changes whenever what is in the folder does. include: what is indexed of the
    folder, in the syntax of .gitignore; all of it where empty.
    """

    repository: str
    root: Path
    state: str
    questions: Sequence[Question]
    include: Sequence[str] = ()


class Task(Protocol):
    """A set of questions with what they are asked of."""

    @property
    def name(self) -> str:
        """As --tasks names it."""
        ...

    @property
    def questions(self) -> Sequence[Question]:
        """All of them, in the order of the report."""
        ...

    def batches(self) -> Iterator[Batch]:
        """One after the other; the folder of a batch is as it says until the next one is taken."""
        ...
