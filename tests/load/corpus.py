"""What is indexed under load: real code in several languages, from the registries, pinned and checked by its hash.

Django, JPype and RxJS: 26,079 chunks of Python, JavaScript, TypeScript, Java and C++, written by people who never
thought of this program.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.core.packages import NotFetched, Package, WrongContent, npm, pypi, unpacked

__all__ = ["PACKAGES", "NotFetched", "Package", "WrongContent", "cache_folder", "fingerprint", "sources"]

# Catalogues of translations and pictures are not code.
KEPT_SUFFIXES = frozenset({
    ".py", ".js", ".ts", ".java", ".c", ".cpp", ".h", ".pyx", ".pxi", ".html", ".css", ".md", ".rst", ".txt",
})  # fmt: skip
LEFT_OUT = frozenset({"locale"})


def _from_pypi(name: str, version: str, sha256: str, *folders: str) -> Package:
    archive = f"{name}-{version}.tar.gz"
    return _code(name, version, archive, sha256, folders, pypi(name, version, archive))


def _from_npm(name: str, version: str, sha256: str, *folders: str) -> Package:
    archive = f"{name}-{version}.tgz"
    return _code(name, version, archive, sha256, folders, npm(name, version, archive))


def _code(
    name: str, version: str, archive: str, sha256: str, folders: tuple[str, ...], command: tuple[str, ...]
) -> Package:
    return Package(name, version, archive, sha256, folders, command, suffixes=KEPT_SUFFIXES, without=LEFT_OUT)


PACKAGES = (
    _from_pypi("django", "5.2.8", "23254866a5bb9a2cfa6004e8b809ec6246eba4b58a7589bc2772f1bcc8456c7f", "django"),
    _from_pypi("jpype1", "1.6.0", "2d46b2a14f8f0e6f17d8aa22b4fc3a64b2790851ebf1409ad79a37c698fd6e9a"),
    _from_npm("rxjs", "7.8.2", "2312f8ffd9726ffd7bd53ea12c5f13663d09a3dc3326f448c70b88f5ef6fac82", "src"),
)


def cache_folder() -> Path:
    """Where archives, sources and the index of this corpus are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "code-assistant-load"


def sources(cache: Path, say: Callable[[str], None], packages: Sequence[Package] = PACKAGES) -> list[Path]:
    """As benchmarks.core.packages.unpacked, for this corpus."""
    return unpacked(packages, cache, say)


def fingerprint(packages: Sequence[Package] = PACKAGES) -> str:
    """What decides the corpus, in 12 characters."""
    told = [(package.sha256, package.folders, sorted(package.suffixes)) for package in packages]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]
