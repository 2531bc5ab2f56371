"""Takes a backup while the server serves and indexes.

Points are written before the manifest names them, and deleted after it stops. So neither a manifest copied before the
points were read nor one copied after them fits: some points are gone by the first, some not yet read by the second.
The points are read in one pass, then the manifest is copied, and the points of every file that changed between two
copies, or of which other than all were seen, are read again; and so on, until nothing changed between two copies. Each
round reads only what changed during the one before it, so that they soon end.
"""

import asyncio
import json
import sqlite3
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from rag_app.core.settings import RagSettings
from rag_app.core.version import PROGRAM_VERSION
from rag_app.db.collections import CollectionName, Collections
from rag_app.db.files import sync_file, sync_folder, write_whole
from rag_app.db.manifest_schema import MIGRATIONS
from rag_app.db.parts import POINTS_A_PART, write_part
from rag_app.db.point_store import PointStore
from rag_app.db.points import Points
from rag_app.db.qdrant_calls import Qdrant
from rag_app.db.sqlite_copies import compress, snapshot, version_of
from rag_app.features.backup.index_file import (
    CACHE,
    FORMAT,
    MANIFEST,
    SETTINGS,
    UNFINISHED,
    Backup,
    Part,
    Report,
    write_index,
)
from rag_app.features.backup.ledger import Ledger, figures
from rag_app.features.backup.threads import in_thread
from service_kit.errors import Conflict, Unavailable

# Of a job's batch of twelve files, which takes a second or two, some are between points and manifest in each copy.
SETTLE_S = 1.0
# Rounds after which points that are still missing are missing, and not on their way.
MOST_STUCK_ROUNDS = 5
MOST_ROUNDS = 100


class Taking:
    """One backup in the making, in `folder`, which is there and empty."""

    def __init__(self, folder: Path, settings: RagSettings, qdrant: Qdrant, report: Report):
        """qdrant: of the settings, closed by whoever made it."""
        self._folder = folder
        self._settings = settings
        self._collections = Collections(qdrant, settings.collection)
        self._store = PointStore(qdrant)
        self._report = report
        self._live = settings.data_dir / "manifest.sqlite"
        self._work = folder / "work"
        self._parts: list[Part] = []
        self._waiting: list[Points] = []

    async def take(self, *, with_cache: bool) -> Backup:
        """All of it; returns once the backup is whole and on disk."""
        started_at = time.time()
        self._check_live()
        collection = await self._collections.target()
        if collection is None:
            raise Conflict(
                f"Qdrant has no index under the name {self._settings.collection!r}, so there is nothing to back up; "
                "index a repository first, or set COLLECTION"
            )
        name = _known(collection)
        dim = await self._collections.dim(collection)
        (self._folder / "points").mkdir()
        self._work.mkdir()
        with closing(Ledger(self._work / "ledger.sqlite")) as ledger:
            manifest = await self._consistent(collection, ledger)
        files, chunks, repositories = await in_thread(figures, manifest)
        self._report("manifest", 0, 1)
        await in_thread(compress, manifest, self._folder / MANIFEST)
        self._add(MANIFEST)
        if with_cache:
            self._report("cache", 0, 1)
            await in_thread(self._copy_cache)
        write_whole(self._folder / SETTINGS, json.dumps(told(self._settings), indent=1).encode())
        self._add(SETTINGS)
        backup = Backup(
            id=uuid.uuid4().hex,
            format=FORMAT,
            program=PROGRAM_VERSION,
            started_at=started_at,
            finished_at=time.time(),
            collection=collection,
            model={**_model(manifest), "hash": name.model, "dim": dim},
            schemas={"collection": name.schema, "manifest": version_of(manifest)},
            repositories=repositories,
            files=files,
            chunks=chunks,
            parts=self._parts,
        )
        _remove(self._work)
        await in_thread(write_index, self._folder, backup)
        (self._folder / UNFINISHED).unlink(missing_ok=True)
        sync_folder(self._folder)
        return backup

    def _check_live(self) -> None:
        if not self._live.is_file():
            raise Conflict(
                f"{self._live} does not exist, so there is nothing to back up; set DATA_DIR to the server's, which is "
                ".data in the checkout for `make run`"
            )
        if (version := version_of(self._live)) > len(MIGRATIONS):
            raise Conflict(
                f"{self._live} has schema version {version}, this program knows up to {len(MIGRATIONS)}: back it up "
                "with the version of the program that runs"
            )
        if not _names_a_repository(self._live):
            raise Conflict(
                f"nothing is indexed in DATA_DIR={self._settings.data_dir}, so there is nothing to back up; "
                "set DATA_DIR to the server's, which is .data in the checkout for `make run`"
            )

    async def _consistent(self, collection: str, ledger: Ledger) -> Path:
        """Read all points that the returned copy of the manifest names."""
        before = await self._copy(0)
        await self._first_pass(collection, ledger)
        stuck = 0
        for number in range(1, MOST_ROUNDS):
            manifest = await self._copy(number)
            batches = list(ledger.to_read_again(manifest, before))
            if not batches:
                return manifest
            self._report("changes", 0, sum(map(len, batches)))
            is_quiet = _equal(before, manifest)
            stuck = stuck + 1 if is_quiet else 0
            if stuck == MOST_STUCK_ROUNDS:
                raise Conflict(
                    f"the index lacks points that its manifest names, of {sum(map(len, batches))} files, such as "
                    f"{batches[0][0][2]!r}; run `code-assistant repos sync NAME`, which writes them again, then back up"
                )
            if is_quiet:
                await asyncio.sleep(SETTLE_S)
            for keys in batches:
                ledger.expects(keys, number)
                points = await self._store.of_files(collection, keys)
                await self._keep(points, ledger, number)
            await self._flush(number)
            before.unlink()
            before = manifest
        raise Unavailable(f"the index changed faster than it could be read, {MOST_ROUNDS} times; try again later")

    async def _first_pass(self, collection: str, ledger: Ledger) -> None:
        total, done = await self._store.count(collection), 0
        reading = asyncio.ensure_future(self._store.page(collection))
        try:
            while True:
                points, following = await reading
                if following is not None:  # read the next page while this one is written
                    reading = asyncio.ensure_future(self._store.page(collection, following))
                await self._keep(points, ledger, 0)
                done += len(points)
                self._report("points", done, max(total, done))
                if following is None:
                    break
        finally:
            reading.cancel()
        await self._flush(0)

    async def _keep(self, points: Points, ledger: Ledger, number: int) -> None:
        await in_thread(ledger.saw, points.keys(), number)
        self._waiting.append(points)
        if sum(map(len, self._waiting)) >= POINTS_A_PART:
            await self._flush(number)

    async def _flush(self, number: int) -> None:
        points, self._waiting = Points.joined(self._waiting), []
        if len(points):
            name = f"points/{len(self._parts):06}.npz"
            await in_thread(write_part, self._folder / name, points)
            await in_thread(self._add, name, len(points), number)

    def _add(self, name: str, points: int = 0, number: int = 0) -> None:
        sync_file(self._folder / name)
        self._parts.append(Part.of(self._folder, name, points, number))

    async def _copy(self, number: int) -> Path:
        copy = self._work / f"manifest-{number}.sqlite"
        await in_thread(snapshot, self._live, copy)
        return copy

    def _copy_cache(self) -> None:
        live = self._settings.data_dir / "embeddings.sqlite"
        if live.is_file():
            snapshot(live, self._work / "embeddings.sqlite")
            compress(self._work / "embeddings.sqlite", self._folder / CACHE)
            self._add(CACHE)


def told(settings: RagSettings) -> dict[str, Any]:
    """Settings by the names of their variables, without any that is a secret or an address that may hold one."""
    values = {name.upper(): getattr(settings, name) for name in type(settings).model_fields}
    return {
        name: value if isinstance(value, bool | int | float) or value is None else _without_user(str(value))
        for name, value in sorted(values.items())
        if not isinstance(value, SecretStr) and not name.endswith(("_KEY", "_KEYS", "_TOKEN", "_SECRET"))
    }


def _without_user(text: str) -> str:
    scheme, mark, rest = text.partition("://")
    return scheme + mark + rest.rpartition("@")[2] if mark else text


def _names_a_repository(manifest: Path) -> bool:
    with closing(sqlite3.connect(f"{manifest.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'repositories'").fetchone() is None:
            return False
        return connection.execute("SELECT 1 FROM repositories LIMIT 1").fetchone() is not None


def _known(collection: str) -> CollectionName:
    name = CollectionName.parse(collection)
    if name is None:
        raise Conflict(f"the alias leads to {collection!r}, which is no index of Code Assistant; set COLLECTION")
    return name


def _model(manifest: Path) -> dict[str, Any]:
    """What a manifest's copy knows of the model; empty for one of a program that did not note it."""
    with closing(sqlite3.connect(manifest)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone() is None:
            return {}
        row = connection.execute("SELECT value FROM facts WHERE key = 'model'").fetchone()
    return {} if row is None else dict(json.loads(row[0]))


def _equal(one: Path, other: Path) -> bool:
    """Whether two copies of the manifest name the same files."""
    sql = "SELECT * FROM files EXCEPT SELECT * FROM other.files"
    with closing(sqlite3.connect(one)) as connection:
        connection.execute("ATTACH ? AS other", (str(other),))
        there = connection.execute(f"SELECT NOT EXISTS ({sql})").fetchone()[0]
        back = "SELECT * FROM other.files EXCEPT SELECT * FROM files"
        return bool(there and connection.execute(f"SELECT NOT EXISTS ({back})").fetchone()[0])


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
