"""What is indexed under load: real code in several languages, from the registries, pinned and checked by its hash.

Django, JPype and RxJS: 26,079 chunks of Python, JavaScript, TypeScript, Java and C++, written by people who never
thought of this program.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# A client fetches up to 11 MB; pip also asks a package's build backend for its name.
DOWNLOAD_LIMIT_S = 300

# Catalogues of translations and pictures are not code.
KEPT_SUFFIXES = frozenset({
    ".py", ".js", ".ts", ".java", ".c", ".cpp", ".h", ".pyx", ".pxi", ".html", ".css", ".md", ".rst", ".txt",
})  # fmt: skip


class WrongContent(Exception):
    """A file is not the one that was pinned; the text says which, and what to delete."""


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned source package. `folders`: what is kept of it, relative to its root; everything where empty."""

    name: str
    version: str
    archive: str
    sha256: str
    folders: tuple[str, ...]
    command: tuple[str, ...]  # fetches the archive into the folder {into}

    def keeps(self, path: PurePosixPath) -> bool:
        """Whether a file of the package, by its path under the root, is part of the corpus."""
        if path.suffix not in KEPT_SUFFIXES or "locale" in path.parts:
            return False
        return not self.folders or any(path.is_relative_to(folder) for folder in self.folders)


def _from_pypi(name: str, version: str, sha256: str, *folders: str) -> Package:
    pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", "{into}")
    return Package(name, version, f"{name}-{version}.tar.gz", sha256, folders, (*pip, f"{name}=={version}"))


def _from_npm(name: str, version: str, sha256: str, *folders: str) -> Package:
    npm = ("npm", "pack", "--silent", "--pack-destination", "{into}")
    return Package(name, version, f"{name}-{version}.tgz", sha256, folders, (*npm, f"{name}@{version}"))


PACKAGES = (
    _from_pypi("django", "5.2.8", "23254866a5bb9a2cfa6004e8b809ec6246eba4b58a7589bc2772f1bcc8456c7f", "django"),
    _from_pypi("jpype1", "1.6.0", "2d46b2a14f8f0e6f17d8aa22b4fc3a64b2790851ebf1409ad79a37c698fd6e9a"),
    _from_npm("rxjs", "7.8.2", "2312f8ffd9726ffd7bd53ea12c5f13663d09a3dc3326f448c70b88f5ef6fac82", "src"),
)


def cache_folder() -> Path:
    """Where archives, sources and the index of this corpus are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "code-assistant-load"


def sources(cache: Path, say: Callable[[str], None], packages: Sequence[Package] = PACKAGES) -> list[Path]:
    """The root folder of each package's sources, unpacked under `cache`/sources; each is fetched at most once.

    Fails with WrongContent on a wrong hash, CalledProcessError where a registry's client fails.
    """
    return [_unpacked(_archive(package, cache / "archives", say), package, cache / "sources") for package in packages]


def fingerprint(packages: Sequence[Package] = PACKAGES) -> str:
    """What decides the corpus, in 12 characters."""
    told = [(package.sha256, package.folders, sorted(KEPT_SUFFIXES)) for package in packages]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def _archive(package: Package, folder: Path, say: Callable[[str], None]) -> Path:
    path = folder / package.archive
    if not path.exists():
        say(f"fetching {package.name} {package.version}")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as into:
            command = [word.replace("{into}", into) for word in package.command]
            subprocess.run(command, check=True, timeout=DOWNLOAD_LIMIT_S, stdout=subprocess.DEVNULL)
            (Path(into) / package.archive).replace(path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != package.sha256:
        raise WrongContent(f"{path} has sha256 {found}, not {package.sha256}; delete it and try again")
    return path


def _unpacked(archive: Path, package: Package, folder: Path) -> Path:
    root = folder / f"{package.name}-{package.version}"
    if root.exists():
        return root
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(*PurePosixPath(member.name).parts[1:])  # without the archive's own top folder
            if not member.isfile() or not package.keeps(path):
                continue
            member.name = str(path)
            tar.extract(member, partial, filter="data")
    partial.replace(root)
    return root
