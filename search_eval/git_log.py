"""What git says of a repository's past, as values: commits with their changed paths, hunks, the tree."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

# Runs git with these words in the repository's folder and returns what it wrote; the caller says how and where.
Git = Callable[..., str]

# A record, and a field of one: no message holds them.
_RECORD, _FIELD = "\x1e", "\x1f"

# Commits whose hunks one call of git is asked for.
_AT_A_TIME = 100

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@")


@dataclass(frozen=True, slots=True)
class Change:
    """One path in a commit. status: A, M, D, R (renamed), C (copied), T.

    before: its path at the parent, "" where it was not there. after: its path then, "" where it is gone.
    """

    status: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit. parents: ids; time: of committing, Unix seconds; author: name and address; message: all of it."""

    id: str
    parents: tuple[str, ...]
    time: int
    author: str
    message: str
    changes: tuple[Change, ...] = ()


def commits(git: Git, tip: str = "HEAD", most: int = 5_000) -> list[Commit]:
    """The newest commits that `tip` has, children before their parents; renames found; a merge has no changes.

    Paths are relative to the folder that git runs in, and changes outside of it are left out. Fails as `git` does.
    """
    form = _RECORD + _FIELD.join(("%H", "%P", "%ct", "%an <%ae>", "%B")) + _FIELD
    told = git(
        "log", "-z", "--date-order", f"--max-count={most}", "--name-status", "-M", "--relative", "--no-color",
        "--no-ext-diff", "--no-show-signature", "--encoding=UTF-8", f"--format={form}", tip, "--",
    )  # fmt: skip
    return [commit for record in told.split(_RECORD)[1:] if (commit := _commit(record)) is not None]


def _commit(record: str) -> Commit | None:
    fields = record.split(_FIELD)
    if len(fields) != 6 or not fields[2].isdigit():
        return None
    identifier, parents, time, author, message, changes = fields
    return Commit(identifier, tuple(parents.split()), int(time), author, message, tuple(_changes(changes)))


def _changes(told: str) -> Iterator[Change]:
    fields = iter([field for field in told.strip("\n").split("\0") if field])
    for field in fields:
        status = field.strip()[:1]
        path = next(fields, "")
        if status in ("R", "C"):
            yield Change(status, path if status == "R" else "", next(fields, ""))
        elif status:
            yield Change(status, "" if status == "A" else path, "" if status == "D" else path)


def tree(git: Git, tip: str = "HEAD") -> list[str]:
    """The paths of all files of a commit, below the folder that git runs in."""
    return [path for path in git("ls-tree", "-r", "-z", "--name-only", tip).split("\0") if path]


def hunks(git: Git, ids: Sequence[str]) -> dict[str, dict[str, tuple[tuple[int, int], ...]]]:
    """Commit id -> path at its parent -> lines (first, last) there that it changed.

    What it only added has the line above it.
    """
    found: dict[str, dict[str, tuple[tuple[int, int], ...]]] = {}
    for begin in range(0, len(ids), _AT_A_TIME):
        told = git(
            "-c", "core.quotePath=false", "show", "--unified=0", "-M", "--relative", "--no-color", "--no-ext-diff",
            "--no-textconv", "--no-show-signature", "--src-prefix=a/", "--dst-prefix=b/", f"--format={_RECORD}%H",
            *ids[begin : begin + _AT_A_TIME], "--",
        )  # fmt: skip
        for record in told.split(_RECORD)[1:]:
            identifier, _, patch = record.partition("\n")
            found[identifier.strip()] = _ranges(patch)
    return found


def _ranges(patch: str) -> dict[str, tuple[tuple[int, int], ...]]:
    ranges: dict[str, list[tuple[int, int]]] = {}
    path, is_heading = "", False
    for line in patch.split("\n"):
        if line.startswith("diff --git "):
            path, is_heading = "", True
        elif is_heading and line.startswith("--- "):
            path = line[6:].rstrip("\t") if line.startswith("--- a/") else ""
        elif match := _HUNK.match(line):
            is_heading = False
            if path:
                first = max(1, int(match[1]))
                ranges.setdefault(path, []).append((first, first + max(1, int(match[2] or 1)) - 1))
    return {path: tuple(lines) for path, lines in ranges.items()}
