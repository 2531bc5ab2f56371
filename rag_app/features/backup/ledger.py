"""Which points a backup has seen, by file, compared with the manifest: on disk, so that its size does not matter."""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from rag_app.db.points import FileKey
from rag_app.db.records import INDEXED

_NAMED = f"outcome = '{INDEXED}' AND chunks > 0"
# How a file was chunked and embedded: the part of a signature before its stat, which says nothing about points.
_RECIPE = "substr({0}.signature, 1, instr({0}.signature, '|'))"
_SAME_FILE = "{0}.repository = {1}.repository AND {0}.layer = {1}.layer AND {0}.path = {1}.path AND {0}.blob = {1}.blob"


class Ledger:
    """A file of its own, with a manifest's copy attached to it."""

    def __init__(self, path: Path):
        """path: of a file that is made, and that is of no use to anybody afterwards."""
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute(
            "CREATE TABLE seen (repository TEXT, layer TEXT, path TEXT, blob TEXT, round INTEGER, points INTEGER, "
            "PRIMARY KEY (repository, layer, path, blob)) WITHOUT ROWID"
        )

    def close(self) -> None:
        """Let go of the files."""
        self._connection.close()

    def saw(self, keys: Sequence[FileKey], round: int) -> None:
        """Points of these files were seen, one for each time that a file stands there."""
        self._connection.execute("BEGIN")
        self._connection.executemany(
            "INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (repository, layer, path, blob) DO UPDATE SET "
            "points = CASE WHEN round = excluded.round THEN points ELSE 0 END + excluded.points, "
            "round = excluded.round",
            [(*key, round, points) for key, points in Counter(keys).items()],
        )
        self._connection.execute("COMMIT")

    def expects(self, keys: Collection[FileKey], round: int) -> None:
        """Nothing was seen of these files yet in this round, whatever was before."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, 0)", [(*key, round) for key in keys]
        )

    def to_read_again(self, manifest: Path, before: Path) -> Iterator[list[FileKey]]:
        """Files of a manifest whose points are not known to be what it speaks of, some at a time.

        These are the files that changed since the copy `before`, and those of which other than all points were seen.
        """
        attach = self._connection.execute
        attach("ATTACH ? AS now", (str(manifest),))
        attach("ATTACH ? AS before", (str(before),))
        try:
            cursor = self._connection.execute(
                "SELECT f.repository, f.layer, f.path, f.blob FROM now.files f "
                f"LEFT JOIN before.files b ON {_SAME_FILE.format('b', 'f')} "
                f"LEFT JOIN seen s ON {_SAME_FILE.format('s', 'f')} "
                f"WHERE f.{_NAMED.replace('chunks', 'f.chunks')} AND (b.path IS NULL OR b.chunks != f.chunks "
                f"OR {_RECIPE.format('b')} != {_RECIPE.format('f')} OR s.path IS NULL OR s.points != f.chunks)"
            )
            keys = [tuple(row) for row in cursor]
        finally:
            attach("DETACH now")
            attach("DETACH before")
        for begin in range(0, len(keys), 64):
            yield keys[begin : begin + 64]


def figures(manifest: Path) -> tuple[int, int, list[str]]:
    """(files, chunks, names of the repositories) of a manifest's copy."""
    connection = sqlite3.connect(manifest)
    try:
        files, chunks = connection.execute(
            f"SELECT count(*), coalesce(sum(chunks), 0) FROM files WHERE {_NAMED}"
        ).fetchone()
        names = [row[0] for row in connection.execute("SELECT name FROM repositories ORDER BY name")]
        return int(files), int(chunks), names
    finally:
        connection.close()


class Named:
    """The files that a manifest's copy names, asked for a page of points at a time."""

    def __init__(self, manifest: Path):
        """manifest: of a schema that this program knows."""
        self._connection = sqlite3.connect(manifest, check_same_thread=False)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def of(self, keys: Collection[FileKey]) -> set[FileKey]:
        """Those that are named."""
        sql = f"SELECT 1 FROM files WHERE repository = ? AND layer = ? AND path = ? AND blob = ? AND {_NAMED}"
        return {key for key in set(keys) if self._connection.execute(sql, key).fetchone() is not None}
