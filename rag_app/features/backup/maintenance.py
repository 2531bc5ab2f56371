"""Keeps the index still while it is put back or moved: no job begins, and the indexer has seen that."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from rag_app.db.alive import AliveMark, kernel
from rag_app.db.manifest import Manifest
from rag_app.db.manifest_jobs import INDEXER, LEASE_RENEWED_EVERY_S, LEASE_S, MAINTENANCE
from rag_app.features.backup.threads import in_thread
from service_kit.errors import Conflict, Unavailable

# The indexer passes by once a second, or has died and lets its lease run out.
_LOOK_EVERY_S = 0.1


class Maintenance:
    """A claim to the whole index, renewed while it is held."""

    def __init__(self, manifest: Manifest, folder: Path):
        """manifest: open. folder: of the manifest, which all processes share."""
        self._jobs = manifest.jobs
        self._mark = AliveMark(folder / "restorers")
        self._holder = f"{kernel()}/{self._mark.name}"

    @asynccontextmanager
    async def held(self) -> AsyncIterator["Maintenance"]:
        """Within the block nothing but the caller changes the index. Conflict where a job runs, or another holds it."""
        try:
            await in_thread(self._begin)
        except BaseException:
            self._mark.remove()
            raise
        taken_at = time.time()
        renewing = asyncio.create_task(self._renew())
        try:
            await self._wait_for_the_indexer(taken_at)
            yield self
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError, Conflict, Unavailable):
                await renewing
            with suppress(Unavailable):
                await in_thread(self._jobs.give_lease, MAINTENANCE, self._holder)
            self._mark.remove()

    def _begin(self) -> None:
        self._mark.set()
        machine, _, name = (self._jobs.lease_holder(MAINTENANCE) or "").partition("/")
        # One of this machine that was killed is not waited for.
        if machine == kernel() and name.isalnum() and self._mark.is_dead(name):
            self._jobs.give_lease(MAINTENANCE, f"{machine}/{name}")
            self._mark.sweep()
        self._jobs.begin_maintenance(self._holder, LEASE_S)

    async def check(self) -> None:
        """Conflict where the claim was lost, say because this process was stopped for a minute."""
        await in_thread(self._jobs.begin_maintenance, self._holder, LEASE_S)

    async def _wait_for_the_indexer(self, since: float) -> None:
        """Until what it did before the claim is done: it has renewed its lease since, or let it run out."""
        while True:
            until = await in_thread(self._jobs.lease_until, INDEXER)
            if until is None or until < time.time() or until - LEASE_S > since:
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_RENEWED_EVERY_S)
            await self.check()
