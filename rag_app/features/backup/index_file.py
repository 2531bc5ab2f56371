"""index.json of a backup: what is in it, with a checksum of each part. Written last: without it there is no backup."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from rag_app.db.files import checksum, write_whole
from service_kit.errors import Conflict

INDEX = "index.json"
UNFINISHED = "unfinished"
MANIFEST = "manifest.sqlite.gz"
CACHE = "embeddings.sqlite.gz"
SETTINGS = "settings.json"

# Raised where the files of a backup are laid out in another way: an older program refuses, a newer one reads both.
FORMAT = 1

# (stage, done, of how many): told as the work goes on.
Report = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a backup. name: below its folder, with '/'. points: in a part of points.

    round: 0 for the first pass over the collection; a file's points in a later round replace those of earlier ones.
    """

    name: str
    bytes: int
    sha256: str
    points: int = 0
    round: int = 0

    @classmethod
    def of(cls, folder: Path, name: str, points: int = 0, round: int = 0) -> "Part":
        """The part that is on disk now."""
        path = folder / name
        return cls(name, path.stat().st_size, checksum(path), points, round)


@dataclass(frozen=True, slots=True)
class Backup:
    """All that is known of a backup. Times are Unix seconds.

    model: hash (12 hex digits), dim, and where the index knew them name and max_tokens. schemas: of "collection" and
    "manifest". chunks: points that its manifest names; the parts may hold others, which a restore leaves out.
    """

    id: str
    format: int
    program: str
    started_at: float
    finished_at: float
    collection: str
    model: dict[str, Any]
    schemas: dict[str, int]
    repositories: list[str]
    files: int
    chunks: int
    parts: list[Part] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Of all parts."""
        return sum(part.bytes for part in self.parts)


def write_index(folder: Path, backup: Backup) -> None:
    """Make a backup whole. OSError where the disk is full."""
    told = asdict(backup)
    content = {"checksum": _checksum(told), "backup": told}
    write_whole(folder / INDEX, json.dumps(content, indent=1).encode())


def read_index(folder: Path) -> Backup:
    """The index of a backup; Conflict, in words, where there is none, it was altered, or a newer program wrote it."""
    path = folder / INDEX
    if not path.is_file():
        what = "the backup in it was not finished" if (folder / UNFINISHED).exists() else "it is no backup"
        raise Conflict(f"{folder} has no {INDEX}: {what}; nothing was touched")
    try:
        content = json.loads(path.read_bytes())
        told, stated = content["backup"], content["checksum"]
    except (ValueError, KeyError, TypeError) as exc:
        raise _damaged(folder, f"{INDEX} cannot be read") from exc
    if stated != _checksum(told):
        raise _damaged(folder, f"{INDEX} is not what was written: its checksum differs")
    if told["format"] > FORMAT:
        raise Conflict(
            f"{folder} was written by Code Assistant {told['program']} in format {told['format']}, this program reads "
            f"up to {FORMAT}: restore it with that version or a newer one; nothing was touched"
        )
    return Backup(**{**told, "parts": [Part(**part) for part in told["parts"]]})


def verify(folder: Path, backup: Backup, report: Report = silent) -> None:
    """Read every part whole; Conflict that names the first one that is missing, shorter or altered."""
    done = 0
    for part in backup.parts:
        path = folder / part.name
        report("verifying", done, backup.bytes)
        if not path.is_file():
            raise _damaged(folder, f"{part.name} is missing")
        if (size := path.stat().st_size) != part.bytes:
            raise _damaged(folder, f"{part.name} has {size:,} bytes, {part.bytes:,} were written")
        if checksum(path) != part.sha256:
            raise _damaged(folder, f"{part.name} is not what was written: its checksum differs")
        done += part.bytes
    report("verifying", done, backup.bytes)


def _checksum(told: dict[str, Any]) -> str:
    return sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _damaged(folder: Path, what: str) -> Conflict:
    return Conflict(f"{folder} is damaged: {what}; take another backup, nothing was touched")
