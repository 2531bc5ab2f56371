"""Sets in BEIR's form, a document a file: CoSQA and CPython's docstrings, from a folder that EVALSETS names.

A file's name is a number, since the name of what it defines would tell the answer to an index that reads names. Where a
set tells a document's module and class, as CPython's does, these are its folders, as they are in its library.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from evals.core.task import Batch
from search_eval.golden import Gold, Question

# Files of one folder: a folder with 6,000 entries is unlike any code base.
IN_A_FOLDER = 100


@dataclass(frozen=True, slots=True)
class Documents:
    """One set. `source` holds corpus, queries and judgements; the files are written below `work`."""

    name: str
    source: Path
    work: Path

    @property
    def questions(self) -> Sequence[Question]:
        """Those that have a judged document."""
        place = {row["_id"]: path_of(number, row) for number, row in enumerate(_rows(self.source / "corpus.jsonl"))}
        gold: dict[str, list[Gold]] = defaultdict(list)
        for row in _rows(self.source / "qrels.dev.jsonl"):
            if row["score"] > 0:
                gold[row["query-id"]].append(Gold(place[row["corpus-id"]]))
        return [
            Question(f"{self.name}-{row['_id']}", row["text"], tuple(gold[row["_id"]]), self.name, "python")
            for row in _rows(self.source / "queries.dev.jsonl")
            if row["_id"] in gold
        ]

    def batches(self) -> Iterator[Batch]:
        """One: all documents, and nothing that an earlier form of the set has left."""
        root = self.work / self.name
        texts = {
            root / path_of(number, row): dedent(row["text"]).rstrip("\n") + "\n"
            for number, row in enumerate(_rows(self.source / "corpus.jsonl"))
        }
        for path in root.rglob("*.py"):
            if path not in texts:
                path.unlink()
        for path, text in texts.items():
            if not path.exists() or path.read_text("utf-8") != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
        files = sorted((path.relative_to(root).as_posix(), text) for path, text in texts.items())
        state = hashlib.sha256(repr(files).encode()).hexdigest()[:16]
        yield Batch(self.name, root, state, self.questions)


def path_of(number: int, row: dict[str, Any]) -> str:
    """Where the document of this number stands: d012/1234.py, or datetime/date/1234.py."""
    if module := row.get("path", "").removesuffix(".py"):
        return "/".join([module, *filter(None, [row.get("cls")]), f"{number:04}.py"])
    return f"d{number // IN_A_FOLDER:03}/{number:04}.py"


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
