"""A small real package to look at, pinned and checked by its hash, and questions about it whose answers are known."""

import os
from pathlib import Path

from benchmarks.core.packages import Package, pypi, unpacked
from search_eval import golden

# Sources, tests and changelog of an HTTP client: 570 kB in some 50 files. Left out is a third of the tree, data and the
# tests of single models: they would double the time to embed it, and answer nothing that is asked.
PACKAGE = Package(
    name="httpx",
    version="0.28.1",
    archive="httpx-0.28.1.tar.gz",
    sha256="75e98c5f16b0f35b567856f597f06ff2270a374470a5c2392242528e3e3e42fc",
    folders=(),
    command=pypi("httpx", "0.28.1", "httpx-0.28.1.tar.gz"),
    suffixes=frozenset({".py", ".md", ".toml"}),
    without=frozenset({"models"}),
)
NAME = f"{PACKAGE.name}-{PACKAGE.version}"


def folder() -> Path:
    """Where the package is kept: NOTEBOOKS_DIR, else in the user's cache. The stack must be allowed to read it."""
    chosen = os.environ.get("NOTEBOOKS_DIR")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else cache / "code-assistant-notebooks"


def sources(into: Path | None = None) -> Path:
    """The root of the package's sources; downloads them once. Fails as benchmarks.core.packages.unpacked does."""
    [root] = unpacked([PACKAGE], into or folder(), lambda _: None)
    return root


def questions() -> list[golden.Question]:
    """Questions about the package, with the lines that answer them, verified by hand."""
    return golden.read(Path(__file__).parent / "data" / "questions.jsonl")
