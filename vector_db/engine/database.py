"""The store with its threads: one that writes, a few that read. Everything that the features may do to it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from service_kit.errors import Unavailable
from vector_db.engine.collection import Collection
from vector_db.engine.files import LEAST_FREE_BYTES, free_bytes
from vector_db.engine.store import Store
from vector_db.engine.writer import Flushable, Writer

T = TypeVar("T")

# Edge holds the GIL in every call, so readers do not run side by side; two keep one slow conversion from blocking all.
READERS = 2


class Database:
    """Async over the store. Opened and closed by the app's lifespan."""

    def __init__(self, folder: Path, free: Callable[[Path], int] = free_bytes):
        """free: how much room a folder's volume has, in bytes. Opens nothing, starts nothing.

        reads: reads in hand, those that wait for a thread included.
        """
        self.store = Store(folder)
        self._folder = folder
        self._free = free
        self.reads = 0
        self._writer = Writer()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="vector_db-reader")

    def open(self) -> None:
        """Load the store and start the threads; fails with Conflict where another process holds the folder."""
        self.store.open()
        self._writer.start()

    def close(self) -> None:
        """Finish queued writes, end the threads, release the folder."""
        self._writer.stop()
        self._readers.shutdown(wait=True)
        self.store.close()

    def collection(self, name: str) -> Collection:
        """The collection of this name or alias; fails with NotFound."""
        return self.store.resolve(name)

    async def read(self, action: Callable[[], T]) -> T:
        """Run `action` in a reader's thread."""
        self.reads += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, action)
        finally:
            self.reads -= 1

    @property
    def writes_waiting(self) -> int:
        """Writes that the writer has not taken up yet."""
        return self._writer.waiting

    async def grow(self, action: Callable[[], T], target: Flushable | None = None) -> T:
        """As write(), for what takes room; fails with Unavailable where the disk is nearly full."""
        free = await asyncio.to_thread(self._free, self._folder)
        if free < LEAST_FREE_BYTES:
            raise Unavailable(
                f"the disk of {self._folder} has {free >> 20} MB left, and {LEAST_FREE_BYTES >> 20} MB are kept free: "
                "make room, or set VECTOR_DB_DIR (or DATA_DIR) to another disk",
                retry_after_s=30,
            )
        return await self.write(action, target)

    async def write(self, action: Callable[[], T], target: Flushable | None = None) -> T:
        """Run `action` in the writer's thread; returns when `target` is flushed.

        The caller's leaving does not cancel it: what is queued is done.
        """
        done: T = await asyncio.shield(asyncio.wrap_future(self._writer.submit(action, target)))
        return done


def outcome(value: Any) -> dict[str, Any]:
    """What Qdrant answers to a change of points: it was done, and its number."""
    return {"operation_id": value, "status": "completed"}
