"""Copies of SQLite files that others are using: taken as of one moment, compressed, put back in one transaction."""

import gzip
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from rag_app.db.sqlite import BUSY_TIMEOUT_S
from service_kit.errors import Conflict, Unavailable

# A copy is half zlib already; more effort gains a few per cent.
_LEVEL = 1
_PIECE_BYTES = 1 << 20


def snapshot(source: Path, copy: Path) -> None:
    """Copy a database as of one moment, whoever writes to it; Unavailable where it cannot be read.

    By SQLite's backup API in one step: in a write-ahead log that is one read transaction, which nobody waits for.
    """
    copy.unlink(missing_ok=True)
    try:
        with (
            closing(sqlite3.connect(_uri(source, "rw"), uri=True, timeout=BUSY_TIMEOUT_S)) as reader,
            closing(sqlite3.connect(copy)) as written,
        ):
            reader.backup(written)
    except sqlite3.Error as exc:
        raise Unavailable(f"cannot copy {source} to {copy}: {exc}") from exc


def replace_content(target: Path, source: Path) -> None:
    """Make a database's content that of another file, in one transaction; readers and writers may have it open.

    They see all of the old or all of the new, and need not open it again. Killed in it, the old is there.
    """
    try:
        with (
            closing(sqlite3.connect(source)) as reader,
            closing(sqlite3.connect(target, timeout=BUSY_TIMEOUT_S)) as written,
        ):
            written.execute("PRAGMA journal_mode = WAL")
            written.execute("PRAGMA synchronous = FULL")
            reader.backup(written)
    except sqlite3.Error as exc:
        raise Unavailable(f"cannot write {target}: {exc}; see that DATA_DIR has room and can be written") from exc


def version_of(path: Path) -> int:
    """The schema version of a database; Conflict where it is none or is damaged, Unavailable where it is not read."""
    try:
        with closing(sqlite3.connect(_uri(path, "ro"), uri=True)) as reader:
            told = reader.execute("PRAGMA quick_check").fetchone()[0]
            version: int = reader.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.OperationalError as exc:
        raise Unavailable(f"cannot read {path}: {exc}") from exc
    except sqlite3.Error as exc:
        raise Conflict(f"{path} is no sound database: {exc}") from exc
    if told != "ok":
        raise Conflict(f"{path} is damaged: {told}")
    return version


def compress(source: Path, target: Path) -> None:
    """Gzip a file, a piece at a time; the same bytes give the same file."""
    with source.open("rb") as reader, target.open("wb") as written:
        with gzip.GzipFile(filename="", mode="wb", fileobj=written, compresslevel=_LEVEL, mtime=0) as packed:
            shutil.copyfileobj(reader, packed, _PIECE_BYTES)
        written.flush()
        os.fsync(written.fileno())


def decompress(source: Path, target: Path) -> None:
    """What compress() was given."""
    with gzip.open(source, "rb") as reader, target.open("wb") as written:
        shutil.copyfileobj(reader, written, _PIECE_BYTES)
        written.flush()
        os.fsync(written.fileno())


def _uri(path: Path, mode: str) -> str:
    """Its address for SQLite, which reads %, ? and # of a file's name in its own way else."""
    return f"{path.absolute().as_uri()}?mode={mode}"
