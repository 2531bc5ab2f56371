"""Golden questions: what is asked, and where the answer stands. One JSON object a line."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a row must have.
NEEDED = '"id", "query" and "gold", a list of places with a "path"'


class BadQuestion(ValueError):
    """A row is no question; the text says which row, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Gold:
    """A place where the answer stands: lines count from 1, both ends included; 0 and 0: the whole file."""

    path: str
    start_line: int = 0
    end_line: int = 0

    def __post_init__(self) -> None:
        """Fails with BadQuestion on lines that are none."""
        is_file = self.start_line == self.end_line == 0
        if not self.path or not (is_file or 1 <= self.start_line <= self.end_line):
            raise BadQuestion(f"{self.path or 'no path'}:{self.start_line}-{self.end_line} is no place in a file")

    @property
    def is_file(self) -> bool:
        """Whether any line of the file will do."""
        return self.end_line == 0


@dataclass(frozen=True, slots=True)
class Question:
    """A query with the places that answer it, at least one.

    category, language: groups that are reported apart; language is that of the gold. repository: where it is asked,
    "" where all questions of a set share one.
    """

    id: str
    query: str
    gold: tuple[Gold, ...]
    category: str = ""
    language: str = ""
    repository: str = ""

    def __post_init__(self) -> None:
        """Fails with BadQuestion where there is nothing to ask, or no gold."""
        if not self.id or not self.query.strip() or not self.gold:
            raise BadQuestion(f"{self.id or 'a question'}: needs an id, a query and a gold place")


def of_row(row: Mapping[str, Any]) -> Question:
    """A decoded row as a question; keys that a question has not are left alone. Fails with BadQuestion."""
    try:
        gold = tuple(
            Gold(str(one["path"]), int(one.get("start_line", 0)), int(one.get("end_line", 0))) for one in row["gold"]
        )
        named = {name: str(row.get(name, "")) for name in ("category", "language", "repository")}
        return Question(str(row["id"]), str(row["query"]), gold, **named)
    except KeyError as exc:
        raise BadQuestion(f"{row!r:.200} has no {exc.args[0]!r}; a question needs {NEEDED}") from exc
    except (TypeError, AttributeError) as exc:
        raise BadQuestion(f"{row!r:.200} is no question; one needs {NEEDED}") from exc


def to_row(question: Question) -> dict[str, Any]:
    """The other way: what of_row reads, without what is empty."""
    gold = [
        {"path": one.path}
        if one.is_file
        else {"path": one.path, "start_line": one.start_line, "end_line": one.end_line}
        for one in question.gold
    ]
    named = {name: getattr(question, name) for name in ("category", "language", "repository")}
    return {"id": question.id, "query": question.query, "gold": gold, **{k: v for k, v in named.items() if v}}


def read(path: Path) -> list[Question]:
    """All questions of a file, in its order.

    Fails with BadQuestion, which names the line, on a row that is none and on an id that is there twice.
    """
    questions: list[Question] = []
    seen: set[str] = set()
    # A query may hold what str.splitlines takes for an end of line: JSON has U+2028 as it is.
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            question = of_row(json.loads(line))
        except ValueError as exc:  # JSON's, too
            raise BadQuestion(f"{path}:{number}: {exc}") from exc
        if question.id in seen:
            raise BadQuestion(f"{path}:{number}: the id {question.id} is there twice")
        seen.add(question.id)
        questions.append(question)
    return questions


def write(path: Path, questions: Iterable[Question]) -> None:
    """Write them one a line; what read() gives back."""
    lines = [json.dumps(to_row(question), ensure_ascii=False) for question in questions]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
