"""Jobs and the indexer's lease. One process indexes at a time; another takes over when its lease runs out."""

import sqlite3
import time
import uuid
from typing import Any

from rag_app.db.records import Job, JobError, JobState, Progress
from rag_app.db.sqlite import Database
from service_kit.errors import Conflict, NotFound

# Older finished jobs of a repository are forgotten: enough for a look back, and the table stays small.
KEPT_JOBS = 20

# How long a lease lasts that is not renewed: long enough for an event loop that is busy for seconds, short enough to
# wait for after a crash of another machine.
LEASE_S = 15.0
LEASE_RENEWED_EVERY_S = 4.0

# Who indexes.
INDEXER = "indexer"

# The lease under which the whole index is put back or moved: while it lasts no job begins and nothing is registered.
MAINTENANCE = "maintenance"


class JobLedger:
    """Jobs of all repositories, in the order in which they were asked for."""

    def __init__(self, database: Database):
        """database: the manifest's, opened by it."""
        self._database = database

    def enqueue(self, repository: str) -> Job:
        """A job that is still to begin: the one already queued for this repository, else a new one.

        Conflict while the index is being restored.
        """
        with self._database.transaction() as connection:
            refuse_in_maintenance(connection)
            queued = connection.execute(
                "SELECT * FROM jobs WHERE repository = ? AND state = 'queued'", (repository,)
            ).fetchone()
            if queued is not None:
                return _job(queued)
            identifier = uuid.uuid4().hex
            connection.execute(
                "INSERT INTO jobs (id, repository, kind, state, created_at, sequence) VALUES "
                "(?, ?, 'index', 'queued', ?, (SELECT coalesce(max(sequence), 0) + 1 FROM jobs))",
                (identifier, repository, time.time()),
            )
            connection.execute(
                "DELETE FROM jobs WHERE repository = ? AND finished_at IS NOT NULL AND id NOT IN "
                "(SELECT id FROM jobs WHERE repository = ? ORDER BY sequence DESC LIMIT ?)",
                (repository, repository, KEPT_JOBS),
            )
        return self.get(identifier)

    def get(self, identifier: str) -> Job:
        """One job; NotFound where it is unknown (or went with its repository)."""
        row = self._database.row("SELECT * FROM jobs WHERE id = ?", [identifier])
        if row is None:
            raise NotFound(f"no job {identifier!r}; it may have gone with its repository")
        return _job(row)

    def claim(self) -> Job | None:
        """The oldest queued job, now running; None where nothing waits, or while the index is being restored."""
        with self._database.transaction() as connection:
            if is_in_maintenance(connection):
                return None
            row = connection.execute(
                "UPDATE jobs SET state = 'running' WHERE id = "
                "(SELECT id FROM jobs WHERE state = 'queued' ORDER BY sequence LIMIT 1) RETURNING *"
            ).fetchone()
        return None if row is None else _job(row)

    def report(self, identifier: str, progress: Progress) -> None:
        """Write how far a job is."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET files_done = ?, files_total = ?, chunks_done = ?, chunks_embedded = ?, "
                "chunks_reused = ?, elapsed_ms = ? WHERE id = ?",
                (*_figures(progress), identifier),
            )

    def finish(self, identifier: str, state: JobState, progress: Progress, error: JobError | None = None) -> None:
        """End a job."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET files_done = ?, files_total = ?, chunks_done = ?, chunks_embedded = ?, "
                "chunks_reused = ?, elapsed_ms = ?, state = ?, error_code = ?, error_message = ?, finished_at = ? "
                "WHERE id = ?",
                (
                    *_figures(progress),
                    state,
                    error.code if error else None,
                    error.message if error else None,
                    time.time(),
                    identifier,
                ),
            )

    def requeue_running(self) -> int:
        """Put jobs back that a process began and did not end. Only for the holder of the lease. Returns how many."""
        with self._database.transaction() as connection:
            changed = connection.execute("UPDATE jobs SET state = 'queued' WHERE state = 'running'")
            return changed.rowcount

    def requeue(self, identifier: str) -> None:
        """Put a running job back, to be begun again."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE jobs SET state = 'queued' WHERE id = ? AND state = 'running'", (identifier,))

    def take_lease(self, name: str, holder: str, lasting_s: float) -> bool:
        """Take or renew a lease; False where another holder's has not run out."""
        now = time.time()
        with self._database.transaction() as connection:
            taken = connection.execute(
                "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE "
                "SET holder = excluded.holder, expires_at = excluded.expires_at "
                "WHERE holder = excluded.holder OR expires_at < ?",
                (name, holder, now + lasting_s, now),
            )
            return taken.rowcount > 0

    def begin_maintenance(self, holder: str, lasting_s: float) -> None:
        """Take or renew the lease of maintenance; Conflict where a job runs or another process has the lease.

        In one transaction, so that no job begins between the look and the lease.
        """
        now = time.time()
        with self._database.transaction() as connection:
            running = connection.execute(
                "SELECT r.name FROM jobs j JOIN repositories r ON r.id = j.repository WHERE j.state = 'running' AND "
                "EXISTS (SELECT 1 FROM leases WHERE name = ? AND expires_at > ?)",
                (INDEXER, now),
            ).fetchone()
            if running is not None:
                raise Conflict(
                    f"repository {running['name']!r} is being indexed; wait until `code-assistant repos` says that it "
                    "is ready, or stop the server"
                )
            taken = connection.execute(
                "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE "
                "SET holder = excluded.holder, expires_at = excluded.expires_at "
                "WHERE holder = excluded.holder OR expires_at < ?",
                (MAINTENANCE, holder, now + lasting_s, now),
            )
            if not taken.rowcount:
                raise Conflict(
                    f"another restore or migration of this index runs, or one was killed less than {lasting_s:g} s "
                    "ago; try again after that"
                )

    def in_maintenance(self) -> bool:
        """Whether the index is being restored or moved."""
        now = time.time()
        return bool(self._database.rows(_MAINTENANCE_SQL, [MAINTENANCE, now]))

    def lease_until(self, name: str) -> float | None:
        """When a lease runs out (Unix seconds); None where nobody has it."""
        row = self._database.row("SELECT expires_at FROM leases WHERE name = ?", [name])
        return None if row is None else float(row["expires_at"])

    def lease_holder(self, name: str) -> str | None:
        """Who took a lease last, whether or not it has run out."""
        row = self._database.row("SELECT holder FROM leases WHERE name = ?", [name])
        return None if row is None else str(row["holder"])

    def is_leased(self, name: str) -> bool:
        """Does anybody hold a lease that has not run out?"""
        sql = "SELECT 1 FROM leases WHERE name = ? AND expires_at >= ?"
        return self._database.row(sql, [name, time.time()]) is not None

    def give_lease(self, name: str, holder: str) -> None:
        """Give a lease back; nothing happens where another holds it."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (name, holder))


_MAINTENANCE_SQL = "SELECT 1 FROM leases WHERE name = ? AND expires_at > ?"


def is_in_maintenance(connection: sqlite3.Connection) -> bool:
    """Whether the index is being restored or moved, within a transaction."""
    return connection.execute(_MAINTENANCE_SQL, (MAINTENANCE, time.time())).fetchone() is not None


def refuse_in_maintenance(connection: sqlite3.Connection) -> None:
    """Conflict while the index is being restored or moved: what is asked for would be lost."""
    if is_in_maintenance(connection):
        raise Conflict("the index is being restored or moved; try again when that is done")


def _figures(progress: Progress) -> tuple[Any, ...]:
    return (
        progress.files_done,
        progress.files_total,
        progress.chunks_done,
        progress.chunks_embedded,
        progress.chunks_reused,
        progress.elapsed_ms,
    )


def _job(row: sqlite3.Row) -> Job:
    error = None if row["error_code"] is None else JobError(row["error_code"], row["error_message"])
    return Job(
        id=row["id"],
        repository=row["repository"],
        kind=row["kind"],
        state=row["state"],
        progress=Progress(
            row["files_done"],
            row["files_total"],
            row["chunks_done"],
            row["chunks_embedded"],
            row["chunks_reused"],
            row["elapsed_ms"],
        ),
        error=error,
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )
