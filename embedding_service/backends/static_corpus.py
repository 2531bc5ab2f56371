"""Code that every machine has, to fit a table to: the sources of the running Python's standard library."""

import hashlib
import os
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

# Installed packages differ from machine to machine, and tests repeat themselves.
_SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"}


@dataclass(frozen=True, slots=True)
class Source:
    """A file of code. path: below the root, with /."""

    path: str
    text: str


def stdlib_sources(root: Path | None = None) -> list[Source]:
    """Each .py file below the standard library (or `root`), by path. Empty where Python came without sources."""
    top = root or Path(sysconfig.get_path("stdlib"))
    sources = []
    for folder, below, names in os.walk(top):
        below[:] = sorted(set(below) - _SKIPPED)  # pruned before it is walked: site-packages has ten times the files
        for name in sorted(names):
            if name.endswith(".py"):
                path = Path(folder, name)
                sources.append(Source(path.relative_to(top).as_posix(), path.read_text("utf-8", errors="replace")))
    return sources


def is_held_out(path: str) -> bool:
    """Half of all files, by hash: no vector is fitted to them, so that a test on them is fair."""
    return hashlib.sha256(path.encode()).digest()[0] % 2 == 0


def chunks_of(sources: Iterable[Source], lines: int) -> list[str]:
    """All lines of all sources, `lines` at a time, without the blank ones."""
    found: list[str] = []
    for source in sources:
        kept = [line for line in source.text.splitlines(keepends=True) if not line.isspace()]
        found.extend("".join(kept[start : start + lines]) for start in range(0, len(kept), lines))
    return found


def sources_sha256(sources: Sequence[Source]) -> str:
    """Hex SHA-256 of the sources: tables fitted to different code are different models."""
    whole = hashlib.sha256()
    for source in sources:
        whole.update(f"{source.path}\0{hashlib.sha256(source.text.encode('utf-8', 'replace')).hexdigest()}\n".encode())
    return whole.hexdigest()
