"""The one source of truth for what is indexed: repositories, refs, files, jobs, document frequencies (SQLite, WAL).

It is written after the points that it speaks of. Calls are short and synchronous, and safe from several threads.
"""

import json
import sqlite3
import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rag_app.core.models import ModelIdentity, Scope
from rag_app.db.manifest_files import FileLedger
from rag_app.db.manifest_jobs import JobLedger, refuse_in_maintenance
from rag_app.db.manifest_schema import BASE_LAYER, MIGRATIONS
from rag_app.db.manifest_totals import Totals, read_totals
from rag_app.db.records import INDEXED, RefState, Repository, RepositoryState, Source
from rag_app.db.sqlite import Database, as_json
from service_kit.errors import Conflict, NotFound

FileKey = tuple[str, str, str, str]  # (repository, layer, path, blob)

# A repository is what its newest job says.
_STATE = """
CASE
    WHEN EXISTS (SELECT 1 FROM jobs j WHERE j.repository = r.id AND j.state IN ('queued', 'running')) THEN 'indexing'
    ELSE coalesce(
        (SELECT CASE j.state WHEN 'failed' THEN 'failed' ELSE 'ready' END FROM jobs j
          WHERE j.repository = r.id AND j.state IN ('succeeded', 'failed') ORDER BY j.sequence DESC LIMIT 1),
        'new')
END
"""

_REPOSITORIES = f"""
SELECT r.*, {_STATE} AS state, d.ref, d.commit_id, d.indexed_at
FROM repositories r LEFT JOIN refs d ON d.repository = r.id AND d.is_default = 1
"""


class Manifest:
    """What is indexed. `files` is the indexer's side of it, `jobs` holds jobs and the indexer's lease."""

    def __init__(self, path: Path):
        """path: the database file; nothing is opened before open()."""
        self._database = Database(path, MIGRATIONS, keeps_old=True)
        self.files = FileLedger(self._database)
        self.jobs = JobLedger(self._database)

    def open(self) -> None:
        """Create or migrate the file; of one that is migrated a copy stays beside it, manifest.v<version>.sqlite.

        Conflict where a newer program wrote it, Unavailable where it cannot open.
        """
        self._database.open()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def set_model(self, identity: ModelIdentity, program: str) -> None:
        """Note which embedding model the index is of, and which version of the program wrote to it last."""
        told = {"model": json.dumps(asdict(identity)), "program": program}
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", told.items())

    def model(self) -> ModelIdentity | None:
        """The model that was noted last; None where nothing was indexed since the manifest can note it."""
        told = self.fact("model")
        return None if told is None else ModelIdentity(**json.loads(told))

    def fact(self, key: str) -> str | None:
        """What is noted under a key, or None."""
        row = self._database.row("SELECT value FROM facts WHERE key = ?", [key])
        return None if row is None else str(row["value"])

    def all_ids(self) -> Scope:
        """Every repository's id: the scope of a caller who may see all."""
        return frozenset(row["id"] for row in self._database.rows("SELECT id FROM repositories"))

    def names(self, scope: Scope) -> dict[str, str]:
        """Name -> id of the repositories in scope."""
        sql = "SELECT id, name FROM repositories WHERE id IN (SELECT value FROM json_each(?))"
        return {row["name"]: row["id"] for row in self._database.rows(sql, [as_json(scope)])}

    def repositories(self, scope: Scope) -> list[Repository]:
        """Those in scope, by name."""
        sql = f"{_REPOSITORIES} WHERE r.id IN (SELECT value FROM json_each(?)) ORDER BY r.name"
        return [self._repository(row) for row in self._database.rows(sql, [as_json(scope)])]

    def repository(self, identifier: str, scope: Scope) -> Repository:
        """One repository; NotFound where it is unknown or not in scope."""
        row = self._database.row(f"{_REPOSITORIES} WHERE r.id = ?", [identifier]) if identifier in scope else None
        if row is None:
            raise NotFound(f"no repository {identifier!r}; GET /v1/repositories lists them")
        return self._repository(row)

    def register(
        self,
        name: str,
        source: Source,
        *,
        wanted_ref: str | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> str:
        """The id of the repository of this source, made where there is none; its options become the ones given.

        Conflict where the name belongs to another source, or while the index is being restored.
        """
        with self._database.transaction() as connection:
            refuse_in_maintenance(connection)
            known = connection.execute(
                "SELECT id FROM repositories WHERE source_type = ? AND source = ?", (source.type, source.location)
            ).fetchone()
            identifier: str = known["id"] if known else uuid.uuid4().hex
            taken = connection.execute(
                "SELECT source FROM repositories WHERE name = ? AND id != ?", (name, identifier)
            ).fetchone()
            if taken:
                raise Conflict(f"the name {name!r} is taken by {taken['source']}; give another 'name'")
            options = (name, wanted_ref, json.dumps(list(include)), json.dumps(list(exclude)))
            if known:
                connection.execute(
                    "UPDATE repositories SET name = ?, wanted_ref = ?, include = ?, exclude = ? WHERE id = ?",
                    (*options, identifier),
                )
            else:
                connection.execute(
                    "INSERT INTO repositories (name, wanted_ref, include, exclude, id, source_type, source, created_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (*options, identifier, source.type, source.location, time.time()),
                )
        return identifier

    def name_of(self, source: Source) -> str | None:
        """The name under which a source is registered, or None."""
        sql = "SELECT name FROM repositories WHERE source_type = ? AND source = ?"
        row = self._database.row(sql, [source.type, source.location])
        return None if row is None else str(row["name"])

    def delete(self, identifier: str) -> None:
        """Forget a repository and all that belongs to it, and remember that its points are still to be deleted.

        Conflict where a job of it is running, or while the index is being restored. Its queued jobs go with it.
        """
        with self._database.transaction() as connection:
            refuse_in_maintenance(connection)
            running = connection.execute(
                "SELECT id FROM jobs WHERE repository = ? AND state = 'running'", (identifier,)
            ).fetchone()
            if running:
                raise Conflict(f"repository {identifier} is being indexed by job {running['id']}; try again after it")
            connection.execute("DELETE FROM repositories WHERE id = ?", (identifier,))
            connection.execute("INSERT OR IGNORE INTO deleted_repositories VALUES (?)", (identifier,))

    def deleted(self) -> list[str]:
        """Ids of forgotten repositories whose points may still be in the store."""
        return [row["id"] for row in self._database.rows("SELECT id FROM deleted_repositories")]

    def confirm_deleted(self, identifier: str) -> None:
        """Its points are gone."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM deleted_repositories WHERE id = ?", (identifier,))

    def totals(self) -> Totals:
        """How much is indexed and what waits."""
        return read_totals(self._database, _STATE)

    def refs(self, scope: Scope, ref: str | None) -> list[RefState]:
        """The ref of each repository in scope: its default where `ref` is None, else the one of that name or commit.

        A repository that has no such ref is left out.
        """
        wanted = "d.is_default = 1" if ref is None else "(d.ref = ? OR d.commit_id = ?)"
        sql = (
            f"SELECT r.id, d.ref, d.layer, d.commit_id, {_STATE} AS state "
            "FROM json_each(?) s JOIN repositories r ON r.id = s.value JOIN refs d ON d.repository = r.id "
            f"WHERE {wanted} ORDER BY r.id, d.ref = ? DESC"
        )
        parameters = [as_json(scope), *([] if ref is None else [ref, ref]), ref or ""]
        found: dict[str, RefState] = {}
        for row in self._database.rows(sql, parameters):
            found.setdefault(row["id"], RefState(row["id"], row["ref"], row["layer"], row["commit_id"], row["state"]))
        return list(found.values())

    def current(self, keys: Collection[FileKey]) -> set[FileKey]:
        """Those of the given (repository, layer, path, blob) that are indexed now."""
        sql = (
            "SELECT f.repository, f.layer, f.path, f.blob FROM json_each(?) k CROSS JOIN files f "
            "ON f.repository = json_extract(k.value, '$[0]') AND f.layer = json_extract(k.value, '$[1]') "
            "AND f.path = json_extract(k.value, '$[2]') AND f.blob = json_extract(k.value, '$[3]') "
            f"WHERE f.outcome = '{INDEXED}'"
        )
        return {tuple(row) for row in self._database.rows(sql, [as_json(set(keys))])}

    def document_frequencies(self, scope: Scope, term_ids: Collection[int]) -> tuple[dict[int, int], int]:
        """(term id -> number of chunks that have it, number of all chunks), over the repositories in scope.

        Terms that no chunk has are left out.
        """
        ids = as_json(scope)
        sql = (
            "SELECT t.term, sum(t.chunks) AS chunks FROM json_each(?) s CROSS JOIN json_each(?) w "
            "CROSS JOIN frequencies t ON t.repository = s.value AND t.term = w.value GROUP BY t.term"
        )
        found = {row["term"]: row["chunks"] for row in self._database.rows(sql, [ids, as_json(term_ids)])}
        total = self._database.row(
            "SELECT coalesce(sum(chunks), 0) AS chunks FROM repositories WHERE id IN (SELECT value FROM json_each(?))",
            [ids],
        )
        assert total is not None
        return found, int(total["chunks"])

    def set_ref(self, repository: str, ref: str, commit: str, *, indexed_at: float | None) -> None:
        """Say what the base layer holds. indexed_at None: a run has begun and the commit before it is kept, if any."""
        with self._database.transaction() as connection:
            before = connection.execute(
                "SELECT commit_id, indexed_at FROM refs WHERE repository = ? AND layer = ?", (repository, BASE_LAYER)
            ).fetchone()
            if indexed_at is None and before is not None:
                commit, indexed_at = before["commit_id"], before["indexed_at"]
            connection.execute("DELETE FROM refs WHERE repository = ? AND layer = ?", (repository, BASE_LAYER))
            connection.execute(
                "INSERT INTO refs VALUES (?, ?, ?, ?, 1, ?)", (repository, ref, BASE_LAYER, commit, indexed_at)
            )

    def _repository(self, row: sqlite3.Row) -> Repository:
        outcomes = self._outcomes(row["id"])
        state: RepositoryState = row["state"]
        return Repository(
            id=row["id"],
            name=row["name"],
            source=Source(row["source_type"], row["source"]),
            wanted_ref=row["wanted_ref"],
            include=_globs(row["include"]),
            exclude=_globs(row["exclude"]),
            ref=row["ref"] or "",
            commit=row["commit_id"] or "",
            state=state,
            created_at=row["created_at"],
            indexed_at=row["indexed_at"],
            files=outcomes.pop(INDEXED, 0),
            chunks=row["chunks"],
            skipped=outcomes,
        )

    def _outcomes(self, identifier: str) -> dict[str, int]:
        sql = "SELECT outcome, count(*) AS files FROM files WHERE repository = ? GROUP BY outcome ORDER BY outcome"
        return {row["outcome"]: row["files"] for row in self._database.rows(sql, [identifier])}


def _globs(packed: str) -> tuple[str, ...]:
    values: Any = json.loads(packed)
    return tuple(values)
