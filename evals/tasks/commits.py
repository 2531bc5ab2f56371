"""Messages of fix commits, asked of the tree before the fix: which files had to change?

The repositories are bare clones in the folder that EVALSETS_REPOSITORIES names, as <owner>+<name>/repo.
"""

import json
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.core.task import Batch
from search_eval.golden import Gold, Question


class NoRepository(Exception):
    """A clone is not there, or lacks a commit; the text says which."""


@dataclass(frozen=True, slots=True)
class Commits:
    """One set. `source` holds the queries, `clones` the repositories; trees are written below `work`."""

    source: Path
    clones: Path
    work: Path
    name: str = "repoloc"
    at_most: int | None = None  # questions of each repository

    @property
    def questions(self) -> Sequence[Question]:
        """All, in the order in which the trees come: repository by repository, oldest parent first."""
        return [_question(row) for rows in self._by_repository().values() for row in rows]

    def batches(self) -> Iterator[Batch]:
        """One for each parent commit; the folder holds that commit's whole tree, and nothing of git."""
        for name, rows in self._by_repository().items():
            clone = self.clones / rows[0]["github"].replace("/", "+") / "repo"
            root = self.work / self.name / name
            for row in rows:
                _write_tree(clone, row["parent"], root)
                yield Batch(f"{self.name}-{name}", root, row["parent"], [_question(row)])

    def _by_repository(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        with (self.source / "queries.dev.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                found[row["repo"]].append(row)
        return {name: sorted(rows, key=lambda row: row["date"])[: self.at_most] for name, rows in found.items()}


def _question(row: dict[str, Any]) -> Question:
    category = "stem in query" if row["stem_in_query"] else "stem not in query"
    return Question(
        f"repoloc-{row['_id']}", row["query"], tuple(map(Gold, row["gold"])), category, row["lang"], row["repo"]
    )


def _write_tree(clone: Path, commit: str, root: Path) -> None:
    """Make `root` the tree of a commit, writing only what differs from the tree that it was made of before.

    Fails with NoRepository.
    """
    stamp = root.with_name(f"{root.name}.commit")
    before = stamp.read_text() if stamp.exists() and root.exists() else None
    if before == commit:
        return
    stamp.unlink(missing_ok=True)  # a tree that is half one and half the other is neither
    if before is None:
        shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True, exist_ok=True)
    index = root.with_name(f"{root.name}.index").resolve()
    env = {**os.environ, "GIT_INDEX_FILE": str(index), "GIT_LFS_SKIP_SMUDGE": "1"}
    command = ["git", f"--git-dir={clone}", f"--work-tree={root}", "-c", "core.autocrlf=false", "-c", "core.hooksPath="]
    if before is None:
        index.unlink(missing_ok=True)
    # Two-tree merge: what the old commit had and the new has not is removed.
    words = ["read-tree", "-u", "--reset", commit]
    try:
        subprocess.run([*command, *words], check=True, capture_output=True, text=True, env=env)
    except subprocess.CalledProcessError as exc:
        raise NoRepository(f"{clone} has no tree of {commit}: {exc.stderr.strip()[-300:]}") from exc
    stamp.write_text(commit)
