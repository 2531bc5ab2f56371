"""Vectors by (model, hash of the embedded text): content that was embedded once, anywhere, is never embedded again."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from rag_app.db.sqlite import Database

# 1 GiB holds about 600,000 vectors of 384 float32: several large repositories and their branches.
MAX_BYTES = 1 << 30

# A row's key and its B-tree overhead beside the vector, in bytes; measured on 100,000 rows of dim 384.
_ROW_BYTES = 100

_V1 = """
CREATE TABLE vectors (
    model TEXT NOT NULL,
    text_hash BLOB NOT NULL,
    vector BLOB NOT NULL,
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    UNIQUE (model, text_hash)
) STRICT;

CREATE TABLE size (bytes INTEGER NOT NULL) STRICT;

INSERT INTO size VALUES (0)
"""


def text_hash(text: str) -> bytes:
    """SHA-256 of an embedded text, UTF-8."""
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


class EmbeddingCache:
    """A bounded table on disk; the oldest entries go first."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES):
        """path: the database file; nothing is opened before open()."""
        # NORMAL: what a power cut loses of a cache is computed again.
        self._database = Database(path, (_V1,), synchronous="NORMAL")
        self._max_bytes = max_bytes

    def open(self) -> None:
        """Create or migrate the file. Conflict where a newer program wrote it, Unavailable where it cannot open."""
        self._database.open()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def get_many(self, model: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        """Vectors (float32, little-endian bytes) of those hashes that are known for the model identity `model`."""
        sql = "SELECT vector FROM vectors WHERE model = ? AND text_hash = ?"
        found = ((key, self._database.row(sql, [model, key])) for key in hashes)
        return {key: row["vector"] for key, row in found if row is not None}

    def put_many(self, model: str, vectors: Mapping[bytes, bytes]) -> None:
        """Keep vectors; the oldest go where the table would grow over its bound."""
        with self._database.transaction() as connection:
            added = 0
            for key, vector in vectors.items():
                inserted = connection.execute(
                    "INSERT OR IGNORE INTO vectors (model, text_hash, vector) VALUES (?, ?, ?)", (model, key, vector)
                )
                added += (len(vector) + _ROW_BYTES) * inserted.rowcount
            size = connection.execute("SELECT bytes FROM size").fetchone()["bytes"] + added
            oldest = connection.execute("SELECT sequence, length(vector) AS bytes FROM vectors ORDER BY sequence")
            doomed = []
            while size > self._max_bytes and (row := oldest.fetchone()) is not None:
                doomed.append((row["sequence"],))
                size -= row["bytes"] + _ROW_BYTES
            oldest.close()
            connection.executemany("DELETE FROM vectors WHERE sequence = ?", doomed)
            connection.execute("UPDATE size SET bytes = ?", (size,))
