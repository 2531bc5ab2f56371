"""Which files of a folder may be indexed, judged by name and stat alone; what is left out is said with its reason."""

import fnmatch
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rag_app.features.indexing.ignore import IgnoreRules, globs, rules_above
from rag_app.features.indexing.secrets import is_named_secret
from service_kit.errors import Unavailable

VENDORED = frozenset(
    (
        *("node_modules", "vendor", "third_party", "thirdparty", "3rdparty", "bower_components", "jspm_packages"),
        *("site-packages", "dist-packages", ".venv", "venv", ".virtualenv", ".tox", ".nox", ".eggs", "__pycache__"),
        *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".gradle", ".terraform", ".cargo"),
        *("Pods", "Carthage"),
    )
)
_VERSION_CONTROL = frozenset((".git", ".hg", ".svn", ".jj"))
_GENERATED = (
    *("*.min.js", "*.min.css", "*.min.mjs", "*.map", "*_pb2.py", "*_pb2_grpc.py", "*_pb2.pyi", "*.pb.go", "*.pb.cc"),
    *("*.pb.h", "*.g.dart", "*.freezed.dart", "*.designer.cs", "*.snap", "package-lock.json", "npm-shrinkwrap.json"),
    *("yarn.lock", "pnpm-lock.yaml", "bun.lock", "poetry.lock", "uv.lock", "pdm.lock", "pipfile.lock", "cargo.lock"),
    *("gemfile.lock", "composer.lock", "go.sum", "flake.lock", "packages.lock.json", "mix.lock", "pubspec.lock"),
    "podfile.lock",
)

# Tables, drawings and translations: a sixth of Django's chunks were its .po files. A notebook's
# lines are JSON with pictures in it; its cells have no lines of their own that a citation could name.
_DATA = ("*.csv", "*.tsv", "*.svg", "*.po", "*.pot", "*.ipynb", "*.geojson")
# These are configuration while somebody writes them by hand.
_DATA_WHEN_LARGE = (".json", ".jsonl", ".xml", ".yaml", ".yml")
LARGE_DATA_BYTES = 100_000

# People's trees are a tenth as deep; recursion ends at about 490 folders.
MAX_DEPTH = 200

# A file younger than this when it was read may change again without its times changing (git's "racily clean").
RACY_S = 2.0


@dataclass(frozen=True, slots=True)
class Found:
    """A file or folder of the tree. reason: why it is left out, None where it may be indexed."""

    path: str
    size: int = 0
    signature: str = ""
    reason: str | None = None


def walk(
    root: Path,
    *,
    max_file_bytes: int,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    own_data: Path | None = None,
) -> Iterator[Found]:
    """Everything below `root`, sorted within its folder. A folder that is left out counts as one and is not entered.

    Symbolic links are never followed; pipes, sockets and devices are never opened. include, exclude: .gitignore
    syntax; a folder of VENDORED that an include pattern names is somebody's own code, and a secret that one names is
    wanted. own_data: a folder that is not entered, for it holds the index itself. Reasons: ignored, excluded, vendored,
    secret, generated, data, too_large, empty, symlink, special, unreadable, bad_name, too_deep, own_data.
    """
    yield from _Walk(root, max_file_bytes, include, exclude, own_data).folder("", rules_above(root))


def stamp(status: os.stat_result) -> str:
    """What changes when a file's bytes change: times, size and inode."""
    return f"{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_size}:{status.st_ino}"


def lasting_stamp(status: os.stat_result, now: float) -> str:
    """stamp(), or "" where the file is so young that it may change again under the same stamp."""
    return "" if now - max(status.st_mtime, status.st_ctime) < RACY_S else stamp(status)


class _Walk:
    """One call of walk()."""

    def __init__(
        self, root: Path, max_file_bytes: int, include: Sequence[str], exclude: Sequence[str], own: Path | None
    ):
        self._root = root
        self._own = own
        self._max_file_bytes = max_file_bytes
        self._include = globs(include) if include else None
        self._asked = include
        self._vendored = VENDORED - {name for pattern in include for name in pattern.split("/")}
        self._exclude = globs(exclude)

    def folder(self, folder: str, rules: IgnoreRules) -> Iterator[Found]:
        here = self._root / folder
        rules = rules.within(folder, here / ".gitignore")
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as exc:
            if not folder:  # or all of the index would look gone
                raise Unavailable(f"{here} cannot be listed: {exc.strerror}", retry_after_s=5) from exc
            yield Found(f"{folder}/", reason="unreadable")
            return
        for entry in entries:
            if entry.name in _VERSION_CONTROL:
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not _is_plain(path):
                yield Found(path.encode("utf-8", "backslashreplace").decode(), reason="bad_name")
            elif entry.is_dir(follow_symlinks=False):
                yield from self._inner(path, entry.name, rules)
            else:
                yield self._file(path, entry, rules)

    def _inner(self, path: str, name: str, rules: IgnoreRules) -> Iterator[Found]:
        if self._own == self._root / path:
            yield Found(f"{path}/", reason="own_data")
        elif path.count("/") >= MAX_DEPTH:
            yield Found(f"{path}/", reason="too_deep")
        elif name in self._vendored:
            yield Found(f"{path}/", reason="vendored")
        elif rules.is_ignored(path, is_folder=True):
            yield Found(f"{path}/", reason="ignored")
        elif self._exclude.match_file(f"{path}/"):
            yield Found(f"{path}/", reason="excluded")
        else:
            yield from self.folder(path, rules)

    def _file(self, path: str, entry: os.DirEntry[str], rules: IgnoreRules) -> Found:
        if rules.is_ignored(path, is_folder=False):
            return Found(path, reason="ignored")
        if self._exclude.match_file(path) or (self._include is not None and not self._include.match_file(path)):
            return Found(path, reason="excluded")
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            return Found(path, reason="unreadable")
        return Found(path, status.st_size, stamp(status), self._reason(entry.name, status))

    def _reason(self, name: str, status: os.stat_result) -> str | None:
        if stat.S_ISLNK(status.st_mode):
            return "symlink"
        if not stat.S_ISREG(status.st_mode):
            return "special"
        if is_named_secret(name, self._asked):
            return "secret"
        lower = name.lower()
        if any(fnmatch.fnmatchcase(lower, pattern) for pattern in _GENERATED):
            return "generated"
        is_large = status.st_size > LARGE_DATA_BYTES
        if any(fnmatch.fnmatchcase(lower, pattern) for pattern in _DATA) or (
            is_large and lower.endswith(_DATA_WHEN_LARGE)
        ):
            return "data"
        if status.st_size > self._max_file_bytes:
            return "too_large"
        return "empty" if status.st_size == 0 else None


def _is_plain(path: str) -> bool:
    """Names that are not UTF-8, or that hold a line break, would break the ids and messages made of them."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\n" not in path and "\0" not in path
