"""Code that every machine has, to count tokens on: the sources of the running Python's standard library."""

import hashlib
import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path

# Installed packages differ from machine to machine, and tests repeat themselves.
_SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"}

# As long as a chunk of an index is: 200 tokens of the default model's tokenizer in the mean.
_CHUNK_LINES = 20


def stdlib_sources(root: Path | None = None) -> list[str]:
    """The text of each .py file below the standard library (or `root`), by path. Empty where Python has no sources."""
    sources = []
    for folder, below, names in os.walk(root or sysconfig.get_path("stdlib")):
        below[:] = sorted(set(below) - _SKIPPED)  # pruned before it is walked: site-packages has ten times the files
        for name in sorted(names):
            if name.endswith(".py"):
                sources.append(Path(folder, name).read_text(encoding="utf-8", errors="replace"))
    return sources


def chunks_of(sources: Sequence[str]) -> list[str]:
    """All lines of all sources, 20 at a time."""
    found = []
    for source in sources:
        lines = source.splitlines(keepends=True)
        found.extend("".join(lines[start : start + _CHUNK_LINES]) for start in range(0, len(lines), _CHUNK_LINES))
    return found


def sources_sha256(sources: Sequence[str]) -> str:
    """Hex SHA-256 of the sources: tables counted on different code are different models."""
    whole = hashlib.sha256()
    for source in sources:
        whole.update(hashlib.sha256(source.encode("utf-8", errors="replace")).digest())
    return whole.hexdigest()
