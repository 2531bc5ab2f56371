"""Questions of our own over pinned packages: half of them for development, half held out and never looked at.

datasets/ours/packages.toml names the packages; the questions of each are in <name>.jsonl beside it.
"""

import json
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.core.packages import REGISTRIES, Package, pypi, unpacked
from evals.core.task import Batch
from search_eval.golden import BadQuestion, Question, of_row

FOLDER = Path(__file__).resolve().parents[1] / "datasets" / "ours"

Half = Literal["development", "held-out"]

CATEGORIES = ("symbol", "behaviour", "architecture", "error", "usage", "configuration")

# Asked in Korean as well, under the id of the question and this.
KOREAN = "-ko"


@dataclass(frozen=True, slots=True)
class Pinned:
    """A package with its questions. fetch: where it is from, and which files are kept.

    include: what is indexed; needed where a package's own sources lie in a folder that is else taken for others' code.
    is_checked: whether its ranks are checked on every change; small ones that need neither Debian nor a build backend.
    """

    name: str
    half: Half
    language: str
    registry: str
    fetch: Package
    questions: tuple[Question, ...]
    is_checked: bool = False
    include: tuple[str, ...] = ()

    @property
    def repository(self) -> str:
        """Its name in the index, where another set of files is another repository."""
        return f"ours-{self.name}" + ("-included" if self.include else "")


def packages(folder: Path = FOLDER) -> list[Pinned]:
    """All packages, in the order of packages.toml. Fails with BadQuestion, and with KeyError on a missing field."""
    rows = tomllib.loads((folder / "packages.toml").read_text("utf-8"))["package"]
    return [_pinned(row, folder) for row in rows]


@dataclass(frozen=True, slots=True)
class Ours:
    """Some packages' questions. Each package is a repository of its own, and its questions are asked of that one."""

    pinned: Sequence[Pinned]
    cache: Path
    say: Callable[[str], None]
    name: str = "ours"

    @property
    def questions(self) -> Sequence[Question]:
        """Package by package; Korean ones after the others of their package."""
        return [question for one in self.pinned for question in one.questions]

    def batches(self) -> Iterator[Batch]:
        """One a package; fetched and checked first where it is not there. Fails as `unpacked` does."""
        for one in self.pinned:
            [root] = unpacked([one.fetch], self.cache, self.say)
            yield Batch(one.repository, root, one.fetch.fingerprint, one.questions, one.include)


def problems(one: Pinned, root: Path) -> list[str]:
    """What is wrong with a package's questions, beside their form: one sentence each, with the id and not the query."""
    found = []
    for question in one.questions:
        if question.category not in CATEGORIES:
            found.append(f"{question.id}: {question.category!r} is no category")
        for gold in question.gold:
            path = root / gold.path
            if not path.is_file():
                found.append(f"{question.id}: {gold.path} is not there")
            elif gold.end_line > (lines := len(path.read_text("utf-8", errors="replace").splitlines())):
                found.append(f"{question.id}: {gold.path} has {lines} lines, not {gold.end_line}")
    return found


def is_korean(question: Question) -> bool:
    """Whether it is the Korean wording of another question."""
    return question.id.endswith(KOREAN)


def _pinned(row: dict[str, Any], folder: Path) -> Pinned:
    name, version = row["package"], row["version"]
    if row["registry"] == "pypi":
        command = pypi(name, version, row["archive"], row.get("is_maturin", False))
    else:
        command = REGISTRIES[row["registry"]](name, version, row["archive"])
    fetch = Package(
        row["name"], version, row["archive"], row["sha256"], tuple(row["folders"]), command, row.get("root", "")
    )
    questions = tuple(_questions(folder / f"{row['name']}.jsonl", row["name"]))
    return Pinned(
        row["name"],
        row["half"],
        row["language"],
        row["registry"],
        fetch,
        questions,
        row.get("is_checked", False),
        tuple(row.get("include", ())),
    )


def _questions(path: Path, repository: str) -> Iterator[Question]:
    seen: Counter[str] = Counter()
    korean = []
    for line in path.read_text("utf-8").rstrip("\n").split("\n"):
        row = json.loads(line)
        question = replace(of_row(row), repository=repository)
        seen[question.id] += 1
        if seen[question.id] > 1:
            raise BadQuestion(f"{path}: the id {question.id} is there twice")
        yield question
        if row.get("ko"):
            korean.append(replace(question, id=question.id + KOREAN, query=row["ko"]))
    yield from korean
