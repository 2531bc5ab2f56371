"""Puts a backup back, into vector_db or a Qdrant server, beside the index that is served.

First everything is verified, and nothing is touched. Then the points go into a collection of their own, the alias is
led to it, and the manifest's content is replaced in one transaction: a server that runs serves it from then on. Killed
before that, the old index is served; a second run goes on where the first was.
"""

import asyncio
import json
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rag_app.clients.embedding import Embedder
from rag_app.core.settings import RagSettings
from rag_app.db.collections import SCHEMA_VERSION, CollectionName, Collections
from rag_app.db.files import write_whole
from rag_app.db.manifest import Manifest
from rag_app.db.manifest_schema import MIGRATIONS
from rag_app.db.parts import read_part
from rag_app.db.point_store import PAGE_POINTS, PointStore
from rag_app.db.points import FileKey, Points
from rag_app.db.qdrant_calls import Qdrant
from rag_app.db.sqlite_copies import decompress, replace_content, version_of
from rag_app.features.backup.index_file import CACHE, MANIFEST, Backup, Part, Report, read_index, verify
from rag_app.features.backup.ledger import Named
from rag_app.features.backup.maintenance import Maintenance
from rag_app.features.backup.threads import in_thread
from service_kit.errors import Conflict, ServiceError

# Requests on their way at once: the store works on one while this process makes the next.
REQUESTS_AT_ONCE = 3

_JOURNAL = "restore.json"
_STAGED = "restore.sqlite"
# The fact of a manifest that says into which collection it was restored.
_RESTORED = "restored"


@dataclass
class Journal:
    """How far a restore is, in DATA_DIR/restore.json, so that a second run goes on.

    replaced: the collection that was served before, to be deleted once the other is.
    """

    backup: str
    collection: str
    replaced: str | None
    done: list[str] = field(default_factory=list)
    is_filled: bool = False

    @classmethod
    def read(cls, path: Path) -> "Journal | None":
        """None where there is none, or none that can be read."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


class PuttingBack:
    """One restore, out of `folder`."""

    def __init__(self, folder: Path, settings: RagSettings, qdrant: Qdrant, report: Report):
        """qdrant: of the settings, closed by whoever made it."""
        self._folder = folder
        self._settings = settings
        self._collections = Collections(qdrant, settings.collection)
        self._store = PointStore(qdrant)
        self._report = report
        self._data = settings.data_dir
        self._notes = self._data / _JOURNAL

    async def check(self, embedder: Embedder | None) -> tuple[Backup, str | None]:
        """The backup, whole and fit for this program and model, and a warning where the model could not be asked.

        Conflict, in words, where it is not. Touches nothing.
        """
        backup = await in_thread(read_index, self._folder)
        _check_schemas(backup)
        await in_thread(verify, self._folder, backup, self._report)
        return backup, await _check_model(backup, embedder)

    async def put_back(self, backup: Backup, *, replace: bool) -> None:
        """All of it. backup: what check() returned. replace: an index that is there is replaced, and else refused."""
        manifest = Manifest(self._data / "manifest.sqlite")
        await in_thread(manifest.open)
        try:
            async with Maintenance(manifest, self._data).held() as maintenance, self._staged(backup) as staged:
                journal = await self._begun(backup, manifest, replace=replace)
                await self._fill(backup, journal, staged)
                await maintenance.check()
                await self._switch(journal, staged)
        finally:
            await in_thread(manifest.close)
        self._notes.unlink(missing_ok=True)

    @asynccontextmanager
    async def _staged(self, backup: Backup) -> AsyncIterator[Path]:
        """The backup's manifest as a file of its own, brought to this program's schema."""
        staged = self._data / _STAGED
        self._unstage()  # the log of one that was killed would be applied to another file
        try:
            await in_thread(self._stage, staged)
            yield staged
        finally:
            self._unstage()

    def _unstage(self) -> None:
        for path in self._data.glob("restore*.sqlite*"):  # its log and the copy that migrating left, too
            path.unlink(missing_ok=True)

    def _stage(self, staged: Path) -> None:
        decompress(self._folder / MANIFEST, staged)
        version_of(staged)
        brought_up = Manifest(staged)
        brought_up.open()
        brought_up.close()
        with closing(sqlite3.connect(staged)) as connection, connection:
            # Of the process that indexed when the backup was taken. Jobs that it began are begun again.
            connection.execute("DELETE FROM leases")
            connection.execute("UPDATE jobs SET state = 'queued' WHERE state = 'running'")

    def _mark(self, staged: Path, journal: Journal) -> None:
        with closing(sqlite3.connect(staged)) as connection, connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (_RESTORED, journal.collection))

    async def _begun(self, backup: Backup, manifest: Manifest, *, replace: bool) -> Journal:
        """The journal of a run that was killed and is gone on with, or a new one over an empty collection."""
        served = await self._collections.target()
        names = await self._collections.names()
        journal = Journal.read(self._notes)
        if journal is not None and manifest.fact(_RESTORED) == journal.collection:
            # Killed when all was done but the tidying.
            if journal.replaced is not None:
                await self._collections.delete(journal.replaced)
            journal = None
        if journal is not None and journal.backup == backup.id and journal.collection in names:
            return journal
        if not replace:
            await self._check_empty(manifest, served)
        own = CollectionName.parse(backup.collection)
        assert own is not None  # read_index() and _check_schemas() saw to it
        name = CollectionName(self._settings.collection, own.schema, own.model, uuid.uuid4().hex[:8])
        for leftover in names:  # of restores that were killed and not gone on with
            parsed = CollectionName.parse(leftover)
            if parsed is not None and parsed.alias == name.alias and parsed.copy and leftover != served:
                await self._collections.delete(leftover)
        journal = Journal(backup.id, str(name), served)
        await self._collections.make(journal.collection, int(backup.model["dim"]))
        self._write(journal)
        return journal

    async def _check_empty(self, manifest: Manifest, served: str | None) -> None:
        known = manifest.repositories(manifest.all_ids())
        points = 0 if served is None else await self._store.count(served)
        if known or points:
            raise Conflict(
                f"there is an index already ({len(known)} repositories, {points:,} points); give --replace to put the "
                "backup in its place"
            )

    async def _fill(self, backup: Backup, journal: Journal, staged: Path) -> None:
        if journal.is_filled:
            return
        total, done = backup.chunks, 0
        parts = sorted((p for p in backup.parts if p.points), key=lambda part: (-part.round, part.name))
        with closing(Named(staged)) as named:
            newest = _Newest(named)
            for part in parts:
                # A part of a later round is read even where it is written already: it says what earlier ones lack.
                if part.round or part.name not in journal.done:
                    points = await in_thread(read_part, self._folder / part.name)
                    points = points.only(await in_thread(newest.rows, part, points.keys()))
                    if part.name not in journal.done:
                        await self._upsert(journal.collection, points)
                        journal.done.append(part.name)
                        self._write(journal)
                done += part.points
                self._report("points", min(done, total), total)
        count = await self._store.count(journal.collection)
        if count != backup.chunks:
            raise Conflict(
                f"{count:,} points are in the collection and {backup.chunks:,} were backed up: something else writes "
                f"to {journal.collection!r}; what was served before is served still, try again"
            )
        journal.is_filled = True
        self._write(journal)

    async def _upsert(self, collection: str, points: Points) -> None:
        slots = asyncio.Semaphore(REQUESTS_AT_ONCE)

        async def one(rows: range) -> None:
            try:
                await self._store.upsert(collection, points.only(rows))
            finally:
                slots.release()

        try:
            async with asyncio.TaskGroup() as group:
                for begin in range(0, len(points), PAGE_POINTS):
                    await slots.acquire()
                    group.create_task(one(range(begin, min(begin + PAGE_POINTS, len(points)))))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def _switch(self, journal: Journal, staged: Path) -> None:
        """Serve it. Between the two steps a search finds what the old manifest and the new points share."""
        self._report("switching", 0, 1)
        await in_thread(self._mark, staged, journal)
        await self._collections.point_alias(journal.collection)
        await in_thread(replace_content, self._data / "manifest.sqlite", staged)
        cache = self._folder / CACHE
        if cache.is_file():
            await in_thread(self._put_cache, cache)
        if journal.replaced is not None and journal.replaced != journal.collection:
            await self._collections.delete(journal.replaced)
        self._report("switching", 1, 1)

    def _put_cache(self, packed: Path) -> None:
        unpacked = self._data / "restore-embeddings.sqlite"
        try:
            decompress(packed, unpacked)
            replace_content(self._data / "embeddings.sqlite", unpacked)
        finally:
            unpacked.unlink(missing_ok=True)

    def _write(self, journal: Journal) -> None:
        write_whole(self._notes, json.dumps(asdict(journal)).encode())


class _Newest:
    """Which points of a part are to be written; parts are asked for by round, the last one first."""

    def __init__(self, named: Named):
        self._named = named
        self._round = -1
        self._of_round: set[FileKey] = set()
        self._later: set[FileKey] = set()

    def rows(self, part: Part, keys: list[FileKey]) -> list[int]:
        """Those of files that the manifest names and that were not read again in a later round."""
        if part.round != self._round:
            self._later |= self._of_round
            self._of_round, self._round = set(), part.round
        if part.round:
            self._of_round.update(keys)
        named = self._named.of(keys)
        return [i for i, key in enumerate(keys) if key in named and key not in self._later]


def _check_schemas(backup: Backup) -> None:
    known = {"collection": SCHEMA_VERSION, "manifest": len(MIGRATIONS)}
    for what, version in backup.schemas.items():
        if version > known.get(what, 0):
            raise Conflict(
                f"the backup was made by Code Assistant {backup.program}: its {what} has schema version {version}, "
                f"this program knows up to {known.get(what, 0)}; restore it with that version or a newer one "
                "(docs/upgrading.md); nothing was touched"
            )
    if backup.schemas["collection"] < SCHEMA_VERSION or CollectionName.parse(backup.collection) is None:
        raise Conflict(
            f"the backup's collection {backup.collection!r} has another schema than v{SCHEMA_VERSION} of this program: "
            f"restore it with Code Assistant {backup.program}, or index anew (docs/upgrading.md); nothing was touched"
        )


async def _check_model(backup: Backup, embedder: Embedder | None) -> str | None:
    """A warning where the model could not be asked; Conflict where it is another than the backup's."""
    made_with = f"{backup.model.get('name', 'a model')} ({backup.model['hash']})"
    if embedder is None:
        return None
    try:
        identity = await embedder.identity()
    except ServiceError as exc:
        return f"the backup is of {made_with}; whether that is the model in use could not be seen: {exc.message}"
    if identity.hash[:12] != backup.model["hash"]:
        raise Conflict(
            f"the backup is of the embedding model {made_with}, in use is {identity.name} ({identity.hash[:12]}): "
            "vectors of two models never mix; set EMBEDDING_MODEL, EMBEDDING_URL and EMBEDDING_IN_PROCESS as "
            "settings.json of the backup has them, then restore; nothing was touched"
        )
    return None
