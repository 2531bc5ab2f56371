"""Carries an index from one store to another, such as from vector_db to a Qdrant server, and verifies it there.

The manifest stays where it is: only the points move. A pass over the source asks the target for the same ids and writes
what it lacks or has otherwise, so that a second run carries only what the first did not, and the last pass, which must
find nothing to write, is the verification.
"""

import asyncio
from dataclasses import dataclass

from rag_app.core.settings import RagSettings
from rag_app.db.collections import CollectionName, Collections
from rag_app.db.manifest import Manifest
from rag_app.db.point_store import PointStore
from rag_app.db.qdrant_calls import Qdrant
from rag_app.features.backup.index_file import Report
from rag_app.features.backup.maintenance import Maintenance
from rag_app.features.backup.threads import in_thread
from service_kit.errors import Conflict, Upstream


@dataclass(frozen=True, slots=True)
class Moved:
    """What a migration did. written: points that the target lacked or had otherwise; removed: that only it had."""

    collection: str
    points: int
    written: int
    removed: int


class Moving:
    """One migration of the index that the settings name."""

    def __init__(self, settings: RagSettings, source: Qdrant, target: Qdrant, report: Report):
        """source, target: closed by whoever made them."""
        self._settings = settings
        self._source, self._target = PointStore(source), PointStore(target)
        self._source_collections = Collections(source, settings.collection)
        self._target_collections = Collections(target, settings.collection)
        self._report = report

    async def move(self) -> Moved:
        """All of it. Conflict where a job runs, there is no index, or the target serves another one under this name."""
        manifest = Manifest(self._settings.data_dir / "manifest.sqlite")
        await in_thread(manifest.open)
        try:
            async with Maintenance(manifest, self._settings.data_dir).held() as maintenance:
                name = await self._prepared()
                _, written = await self._pass(name, "points", write=True)
                removed = await self._remove_surplus(name)
                points, _ = await self._pass(name, "verifying", write=False)
                await self._count(name, points)
                await maintenance.check()
                await self._target_collections.point_alias(name)
        finally:
            await in_thread(manifest.close)
        return Moved(name, points, written, removed)

    async def _prepared(self) -> str:
        """The name of the collection, which the target has then."""
        name = await self._source_collections.target()
        if name is None or CollectionName.parse(name) is None:
            raise Conflict(
                f"there is no index under the name {self._settings.collection!r} to move; set COLLECTION, QDRANT_HOST "
                "and QDRANT_PORT to where it is now"
            )
        served = await self._target_collections.target()
        if served not in (None, name):
            raise Conflict(
                f"the target serves {served!r} under the name {self._settings.collection!r} already; delete that "
                "alias there, or move to another server"
            )
        await self._target_collections.make(name, await self._source_collections.dim(name))
        return name

    async def _pass(self, name: str, stage: str, *, write: bool) -> tuple[int, int]:
        """Go through the source: (its points, those written). Upstream where one differs and is not to be written."""
        total = await self._source.count(name)
        offset, done, written = None, 0, 0
        while True:
            points, offset = await self._source.page(name, offset)
            differing = points.differing(await self._target.retrieve(name, points.ids))
            if differing and not write:
                raise Upstream(
                    f"{len(differing)} points are not in the target as they were written, such as "
                    f"{points.ids[differing[0]]}; run the command again, and see the target's log"
                )
            await self._target.upsert(name, points.only(differing))
            written += len(differing)
            done += len(points)
            self._report(stage, done, max(total, done))
            if offset is None:
                return done, written

    async def _remove_surplus(self, name: str) -> int:
        """Delete what the target has and the source has no longer, since an earlier run."""
        if await self._target.count(name) == await self._source.count(name):
            return 0
        offset, removed = None, 0
        while True:
            ids, following = await self._target.page_of_ids(name, offset)
            surplus = sorted(set(ids) - set((await self._source.retrieve(name, ids)).ids))
            await self._target.delete(name, surplus)
            removed += len(surplus)
            if following is None:
                return removed
            offset = following

    async def _count(self, name: str, points: int) -> None:
        here, there = await asyncio.gather(self._source.count(name), self._target.count(name))
        if not here == there == points:
            raise Upstream(f"the source has {here:,} points and the target {there:,}: something else writes to them")
