"""Real code that nobody here wrote: a source distribution from the package index, pinned and checked by its hash."""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FLASK = "flask==3.1.2"
FLASK_SHA256 = "bf656c15c80190ed628ad08cdfd3aaa35beb087855e2f494910aa3774cc4fd87"
FLASK_ARCHIVE = "flask-3.1.2.tar.gz"

# pip fetches a few hundred kilobytes and asks the package's own build backend for its name.
DOWNLOAD_LIMIT_S = 300


def flask_sources(into: Path) -> Path:
    """The root of Flask's sources, unpacked under `into`. Downloads at most once a machine; fails on a wrong hash."""
    archive = _cache() / FLASK_ARCHIVE
    if not archive.exists():
        _download(archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert digest == FLASK_SHA256, f"{archive} has sha256 {digest}, expected {FLASK_SHA256}; delete it and try again"
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")
    return into / FLASK_ARCHIVE.removesuffix(".tar.gz")


def _cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "code-assistant-tests"
    base.mkdir(parents=True, exist_ok=True)
    return base


def _download(archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--no-binary",
            ":all:",
            "-d",
            folder,
            FLASK,
        ]
        subprocess.run(command, check=True, timeout=DOWNLOAD_LIMIT_S)
        (Path(folder) / FLASK_ARCHIVE).replace(archive)
