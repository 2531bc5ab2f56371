"""One SQLite file, used from several threads: a connection for each thread, write-ahead log, explicit transactions."""

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service_kit.errors import Conflict, Unavailable

# A writer waits this long for another process's transaction; ours last milliseconds.
BUSY_TIMEOUT_S = 10.0

# The first with STRICT tables; RETURNING came with 3.35. Ubuntu 22.04 has 3.37.2, Debian 12 3.40.1.
OLDEST = (3, 37, 0)


class Database:
    """A file with a schema of a stated version. `open()` makes or migrates it; the constructor touches nothing."""

    def __init__(self, path: Path, migrations: tuple[str, ...], *, synchronous: str = "FULL", keeps_old: bool = False):
        """migrations: scripts; number n (from 1) brings version n - 1 to n. synchronous: SQLite's pragma.

        keeps_old: leave a copy beside the file, `<name>.v<version>.sqlite`, before it is migrated.
        """
        self._keeps_old = keeps_old
        self._path = path
        self._migrations = migrations
        self._synchronous = synchronous
        self._local = threading.local()
        self._lock = threading.Lock()
        # With the lock that whoever uses it holds: SQLite crashes where a connection is closed in the middle of a call,
        # and a thread that was sent away goes on after the task that waited for it was cancelled.
        self._connections: list[tuple[sqlite3.Connection, threading.RLock]] = []
        self._is_open = False

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    def open(self) -> None:
        """Create the file or bring its schema up to date.

        Conflict where a newer version of this program wrote it, Unavailable where it cannot be opened or written.
        """
        if sqlite3.sqlite_version_info < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            raise Unavailable(
                f"this Python has SQLite {sqlite3.sqlite_version}, {wanted} or newer is needed: "
                "use the Python of a newer system or from python.org"
            )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise Unavailable(f"cannot make {self._path.parent}: {exc.strerror}; check DATA_DIR") from exc
        self._is_open = True
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every thread's connection, once what each is doing is done; what comes later is Unavailable."""
        self._is_open = False
        with self._lock:
            closing, self._connections = self._connections, []
            self._local = threading.local()
        for connection, used in closing:
            with used:
                connection.close()

    def rows(self, sql: str, parameters: Iterable[Any] = ()) -> list[sqlite3.Row]:
        """All rows of one statement, which is its own transaction."""
        with self._used() as connection, self._told():
            return connection.execute(sql, tuple(parameters)).fetchall()

    def row(self, sql: str, parameters: Iterable[Any] = ()) -> sqlite3.Row | None:
        """The first row, or None."""
        with self._used() as connection, self._told():
            found: sqlite3.Row | None = connection.execute(sql, tuple(parameters)).fetchone()
        return found

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of the block or, where it raises, nothing of it."""
        with self._used() as connection, self._told():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite ends it itself where the disk is full
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A full disk, a lock that is not let go, a file that went bad: Unavailable, in SQLite's words."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise  # a fault of ours
        except sqlite3.DatabaseError as exc:
            raise Unavailable(f"{self._path}: {exc}; see that DATA_DIR has room and can be written") from exc

    @contextmanager
    def _used(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, which close() leaves alone meanwhile."""
        held: tuple[sqlite3.Connection, threading.RLock] | None = getattr(self._local, "held", None)
        if held is None:
            held = self._connect()
        connection, used = held
        with used:
            if not self._is_open:
                raise self._not_open()
            yield connection

    def _connect(self) -> tuple[sqlite3.Connection, threading.RLock]:
        if not self._is_open:
            raise self._not_open()
        try:
            # check_same_thread=False only so that close() may close it; each thread uses its own.
            connection = sqlite3.connect(
                self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error as exc:
            raise Unavailable(f"cannot open {self._path}: {exc}; check DATA_DIR", retry_after_s=5) from exc
        held = connection, threading.RLock()
        with self._lock:
            if self._is_open:
                self._connections.append(held)
                self._local.held = held
                return held
        connection.close()
        raise self._not_open()

    def _not_open(self) -> Unavailable:
        return Unavailable(f"{self._path.name} is not open", retry_after_s=1)

    def _migrate(self) -> None:
        version: int = self.rows("PRAGMA user_version")[0][0]
        if self._keeps_old and 0 < version < len(self._migrations):
            self._keep(version)
        with self.transaction() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            latest = len(self._migrations)
            if version > latest:
                raise Conflict(
                    f"{self._path} has schema version {version}, this program knows up to {latest}: "
                    "start the newer program, or set DATA_DIR to another folder"
                )
            for script in self._migrations[version:]:
                # executescript() would commit the transaction; the scripts hold no ';' inside of a statement.
                for statement in script.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {latest}")

    def _keep(self, version: int) -> None:
        """Copy the file as it is, for a way back to the program that wrote it."""
        kept = self._path.with_name(f"{self._path.stem}.v{version}{self._path.suffix}")
        draft = kept.with_name(f"{kept.name}.{os.getpid()}.partial")
        with self._used() as connection, self._told():
            copy = sqlite3.connect(draft)
            try:
                connection.backup(copy)
            finally:
                copy.close()
        draft.replace(kept)


def as_json(values: Iterable[Any]) -> str:
    """A JSON array for `json_each(?)`, which takes any number of values where `IN (?, …)` is limited."""
    return json.dumps(list(values))
