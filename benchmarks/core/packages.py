"""Real source code, from the package registries by their own clients: pinned, and checked by its hash."""

import hashlib
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

STAND_IN = Path(__file__).with_name("stand_in")


class WrongContent(Exception):
    """A file is not the one that was pinned; the text says which, and what to delete."""


class NotFetched(Exception):
    """A registry's client is not there, or failed; the text has its last words."""


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned source package. command: fetches the archive into the folder {into}.

    root: the folder of the archive that is taken for the package's root; the archive's own top folder where empty.
    folders: what is kept, relative to that root; everything where empty. suffixes: of files that are kept; all where
    empty. without: folders of these names are left out, wherever they are.
    """

    name: str
    version: str
    archive: str
    sha256: str
    folders: tuple[str, ...]
    command: tuple[str, ...]
    root: str = ""
    suffixes: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()

    def keeps(self, path: PurePosixPath) -> bool:
        """Whether a file of the package, by its path under the root, is kept."""
        if (self.suffixes and path.suffix not in self.suffixes) or self.without.intersection(path.parts):
            return False
        return not self.folders or any(path.is_relative_to(folder) for folder in self.folders)

    @property
    def fingerprint(self) -> str:
        """What decides which files there are."""
        told = (self.sha256, self.root, self.folders, sorted(self.suffixes), sorted(self.without))
        return hashlib.sha256(repr(told).encode()).hexdigest()


def pypi(name: str, version: str, archive: str, is_maturin: bool = False) -> tuple[str, ...]:
    """The command that fetches a source package from PyPI. is_maturin: its build backend needs a stand-in."""
    pip: tuple[str, ...] = (
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--no-binary",
        ":all:",
        "-d",
        "{into}",
    )
    if is_maturin:
        pip = ("env", f"PYTHONPATH={STAND_IN}", *pip, "--no-build-isolation")
    return (*pip, f"{name}=={version}")


def npm(name: str, version: str, archive: str) -> tuple[str, ...]:
    """The command that fetches a package from npm."""
    return ("npm", "pack", "--silent", "--pack-destination", "{into}", f"{name}@{version}")


def debian(name: str, version: str, archive: str) -> tuple[str, ...]:
    """The command that fetches a package from Debian's archive: into the folder in which it runs."""
    return ("sh", "-c", 'cd "$1" && apt-get download -q "$2"', "apt-get", "{into}", f"{name}={version}")


REGISTRIES: dict[str, Callable[[str, str, str], tuple[str, ...]]] = {"pypi": pypi, "npm": npm, "debian": debian}


def unpacked(packages: Sequence[Package], cache: Path, say: Callable[[str], None]) -> list[Path]:
    """The root folder of each package's sources, below `cache`/sources; each is fetched at most once.

    Fails with WrongContent on a wrong hash, NotFetched where a registry's client fails.
    """
    return [_unpacked(_archive(package, cache / "archives", say), package, cache / "sources") for package in packages]


def _archive(package: Package, folder: Path, say: Callable[[str], None]) -> Path:
    path = folder / package.archive
    if not path.exists():
        say(f"fetching {package.name} {package.version}")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as into:
            command = [word.replace("{into}", into) for word in package.command]
            try:
                subprocess.run(command, check=True, timeout=DOWNLOAD_LIMIT_S, capture_output=True, text=True)
                _only_file(Path(into), package).replace(path)
            except (OSError, subprocess.SubprocessError) as exc:
                words = (getattr(exc, "stderr", "") or str(exc)).strip()
                raise NotFetched(f"{package.name} {package.version}: {words[-500:]}") from exc
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != package.sha256:
        raise WrongContent(f"{path} has sha256 {found}, not {package.sha256}; delete it and try again")
    return path


def _only_file(folder: Path, package: Package) -> Path:
    # A client may write a character of the version otherwise than the name says (apt: %3a).
    named = folder / package.archive
    if named.exists():
        return named
    found = [path for path in folder.iterdir() if path.is_file()]
    if len(found) != 1:
        raise FileNotFoundError(f"{package.archive} did not come, but {[path.name for path in found]}")
    return found[0]


def _unpacked(archive: Path, package: Package, folder: Path) -> Path:
    root = folder / f"{package.name}-{package.version}"
    stamp = folder / f"{root.name}.unpacked"
    if root.exists() and stamp.exists() and stamp.read_text() == package.fingerprint:
        return root
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if archive.suffix == ".deb":
        _extract_deb(archive, package, partial)
    else:
        with tarfile.open(archive) as tar:
            _extract(tar, package, partial)
    shutil.rmtree(root, ignore_errors=True)
    partial.replace(root)
    stamp.write_text(package.fingerprint)
    return root


def _extract(tar: tarfile.TarFile, package: Package, into: Path) -> None:
    for member in tar:
        path = _below(PurePosixPath(member.name), package.root)
        if path is None or not member.isfile() or not package.keeps(path):
            continue
        member.name = str(path)
        tar.extract(member, into, filter="data")


def _extract_deb(archive: Path, package: Package, into: Path) -> None:
    # dpkg-deb writes the package's files as one tar, whatever they are compressed with.
    with tempfile.TemporaryFile() as plain:
        try:
            subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=plain, check=True)
        except (OSError, subprocess.SubprocessError) as exc:
            raise NotFetched(f"{archive.name} cannot be unpacked: {exc}") from exc
        plain.seek(0)
        with tarfile.open(fileobj=plain) as tar:
            _extract(tar, package, into)


def _below(path: PurePosixPath, root: str) -> PurePosixPath | None:
    if not root:
        return PurePosixPath(*path.parts[1:])  # without the archive's own top folder
    plain = PurePosixPath(*(part for part in path.parts if part != "."))
    return plain.relative_to(root) if plain.is_relative_to(root) else None
