"""The code that is indexed: pinned source packages, from the smallest on, until there are chunks enough."""

import os
from pathlib import Path

from benchmarks.core.packages import Package, pypi

# No translations and no pictures; a page or a script that documentation loads says nothing that is asked for.
_SUFFIXES = frozenset((".py", ".rst", ".md", ".txt"))


def _package(name: str, version: str, sha256: str, *folders: str, of: str = "") -> Package:
    """name: of the repository; of: of the package, where it is another."""
    package = of or name
    archive = f"{package}-{version}.tar.gz"
    return Package(name, version, archive, sha256, folders, pypi(package, version, archive), suffixes=_SUFFIXES)


_DJANGO = "5.2.19", "ad03d8abc51dbff95ebf34b27123cf0c26a3b62db7ba0cd520783686362533d1"

# A small benchmark takes the first ones only; all that 100,000 chunks want are 22 MB.
PACKAGES: tuple[Package, ...] = (
    _package("click", "8.5.1", "9bbfada76703fd1d784b83eea012e3e8c6a001a876543ef104fa56aaaeb072b4"),
    _package("werkzeug", "3.1.9", "55ca7c70a75689be937aa27f8ff4b018f06ff4838fc73045560bf0f5a1291060"),
    _package("networkx", "3.6.1", "26b7c357accc0c8cde558ad486283728b65b6a95d85ee1cd66bafab4c8168509"),
    _package("sympy", "1.14.0", "d3d3fe8df1e5a0b42f0e7bdf50541697dbe7d23746e894990c030e2b05e72517"),
    _package("django", *_DJANGO, "django", "docs"),
    _package("django-tests", *_DJANGO, "tests", of="django"),
)


def cache_folder() -> Path:
    """Where sources and indexes are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "code-assistant-bench"
