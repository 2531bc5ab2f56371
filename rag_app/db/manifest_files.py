"""The indexer's side of the manifest: file rows, document frequencies, and the points that are still to be swept.

Sweeps are what makes a kill at any moment harmless. Before points are written, their (path, blob) is put down as one
to be swept; the transaction that writes the file row takes it off and puts down the blob that it replaces. So every
point that exists is either named by a file row or put down here.
"""

import sqlite3
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from rag_app.db.manifest_schema import BASE_LAYER
from rag_app.db.records import INDEXED, FileRow, FileUpdate
from rag_app.db.sqlite import Database

Blob = tuple[str, str]  # (path, blob hash)


class FileLedger:
    """Files of the base layer of each repository."""

    def __init__(self, database: Database):
        """database: the manifest's, opened by it."""
        self._database = database

    def of(self, repository: str) -> dict[str, FileRow]:
        """Every file row of a repository, by path."""
        sql = (
            "SELECT path, blob, outcome, language, chunks, signature FROM files "
            "WHERE repository = ? AND layer = ? ORDER BY path"
        )
        rows = self._database.rows(sql, [repository, BASE_LAYER])
        return {row["path"]: FileRow(*row) for row in rows}

    def one(self, repository: str, layer: str, path: str) -> FileRow | None:
        """The row of one path, or None where it was never seen."""
        sql = (
            "SELECT path, blob, outcome, language, chunks, signature FROM files "
            "WHERE repository = ? AND layer = ? AND path = ?"
        )
        row = self._database.row(sql, [repository, layer, path])
        return None if row is None else FileRow(*row)

    def will_write(self, repository: str, blobs: Iterable[Blob]) -> None:
        """Put down blobs whose points are about to be written."""
        with self._database.transaction() as connection:
            _put_down(connection, repository, blobs)

    def to_sweep(self, repository: str) -> list[Blob]:
        """Blobs that no file row names and whose points may be in the store."""
        sql = (
            "SELECT s.path, s.blob FROM sweeps s WHERE s.repository = ? AND s.layer = ? AND NOT EXISTS ("
            "SELECT 1 FROM files f WHERE f.repository = s.repository AND f.layer = s.layer AND f.path = s.path "
            f"AND f.blob = s.blob AND f.outcome = '{INDEXED}')"
        )
        return [(row["path"], row["blob"]) for row in self._database.rows(sql, [repository, BASE_LAYER])]

    def swept(self, repository: str, blobs: Iterable[Blob]) -> None:
        """Their points are gone, or a file row names them again."""
        with self._database.transaction() as connection:
            _take_off(connection, repository, blobs)

    def commit(self, repository: str, updates: Sequence[FileUpdate], removed: Collection[str] = ()) -> None:
        """Write what became of some files, and of paths that are gone, in one transaction.

        The points of `updates` are in the store already; those of the blobs that they replace are put down to be swept.
        """
        with self._database.transaction() as connection:
            delta: Counter[int] = Counter()
            chunks = 0
            for path in [*(update.row.path for update in updates), *removed]:
                chunks -= _forget(connection, repository, path, delta)
            for update in updates:
                chunks += update.row.chunks
                delta.update(update.terms)
                _write(connection, repository, update)
            _take_off(connection, repository, ((u.row.path, u.row.blob) for u in updates if u.row.outcome == INDEXED))
            _add_frequencies(connection, repository, delta)
            connection.execute("UPDATE repositories SET chunks = chunks + ? WHERE id = ?", (chunks, repository))

    def refresh(self, repository: str, signatures: Mapping[str, str]) -> None:
        """New stat signatures, by path, of files whose bytes are what they were."""
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE files SET signature = ? WHERE repository = ? AND layer = ? AND path = ?",
                [(signature, repository, BASE_LAYER, path) for path, signature in signatures.items()],
            )


def pack_terms(terms: Mapping[int, int]) -> bytes:
    """Term counts as bytes: ascending ids, then counts, both uint32, compressed (most counts are 1)."""
    ids = sorted(terms)
    both = np.array([ids, [terms[identifier] for identifier in ids]], dtype="<u4")
    return zlib.compress(both.tobytes(), 1)


def unpack_terms(packed: bytes) -> dict[int, int]:
    """What pack_terms() was given."""
    ids, counts = np.frombuffer(zlib.decompress(packed), dtype="<u4").reshape(2, -1)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))


def _forget(connection: sqlite3.Connection, repository: str, path: str, delta: Counter[int]) -> int:
    key = (repository, BASE_LAYER, path)
    row = connection.execute(
        "SELECT blob, outcome, chunks FROM files WHERE repository = ? AND layer = ? AND path = ?", key
    ).fetchone()
    if row is None:
        return 0
    packed = connection.execute(
        "SELECT packed FROM file_terms WHERE repository = ? AND layer = ? AND path = ?", key
    ).fetchone()
    if packed is not None:
        delta.subtract(unpack_terms(packed["packed"]))
        connection.execute("DELETE FROM file_terms WHERE repository = ? AND layer = ? AND path = ?", key)
    if row["outcome"] == INDEXED:
        _put_down(connection, repository, [(path, row["blob"])])
    connection.execute("DELETE FROM files WHERE repository = ? AND layer = ? AND path = ?", key)
    return int(row["chunks"])


def _write(connection: sqlite3.Connection, repository: str, update: FileUpdate) -> None:
    row = update.row
    connection.execute(
        "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (repository, BASE_LAYER, row.path, row.blob, row.outcome, row.language, row.chunks, row.signature),
    )
    if update.terms:
        connection.execute(
            "INSERT INTO file_terms VALUES (?, ?, ?, ?)",
            (repository, BASE_LAYER, row.path, pack_terms(update.terms)),
        )


def _add_frequencies(connection: sqlite3.Connection, repository: str, delta: Mapping[int, int]) -> None:
    changed = [(repository, term, count) for term, count in delta.items() if count]
    connection.executemany(
        "INSERT INTO frequencies VALUES (?, ?, ?) "
        "ON CONFLICT (repository, term) DO UPDATE SET chunks = chunks + excluded.chunks",
        changed,
    )
    fallen = [(repository, term) for _, term, count in changed if count < 0]
    connection.executemany("DELETE FROM frequencies WHERE repository = ? AND term = ? AND chunks <= 0", fallen)


def _put_down(connection: sqlite3.Connection, repository: str, blobs: Iterable[Blob]) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO sweeps VALUES (?, ?, ?, ?)", [(repository, BASE_LAYER, *blob) for blob in blobs]
    )


def _take_off(connection: sqlite3.Connection, repository: str, blobs: Iterable[Blob]) -> None:
    connection.executemany(
        "DELETE FROM sweeps WHERE repository = ? AND layer = ? AND path = ? AND blob = ?",
        [(repository, BASE_LAYER, *blob) for blob in blobs],
    )
