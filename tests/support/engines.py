"""An engine inside the test's process, over a backend of the test's own."""

import asyncio
from collections.abc import Callable

from embedding_service.backends.base import BackendFailed, Batch, Task
from embedding_service.backends.load import LoadedModel
from embedding_service.engine.base import Done, EngineEnded, Lane, Ready
from embedding_service.engine.lanes import LaneThreads


class InProcess:
    """The worker's threads without its process. load: blocks, and fails, as load_model does."""

    def __init__(self, load: Callable[[], LoadedModel]):
        self._load = load
        self._lanes: LaneThreads | None = None
        self._end: asyncio.Future[str] | None = None
        self._running: set[asyncio.Future[Done]] = set()

    async def start(self, progress: Callable[[str], None]) -> Ready:
        self._end = asyncio.get_running_loop().create_future()
        loaded = await asyncio.to_thread(self._load)
        self._lanes = LaneThreads(loaded.backend, loaded.threads)
        backend = loaded.backend
        facts = (loaded.spec, backend.name, backend.dim, backend.tasks, loaded.threads)
        return Ready(*facts, dtype=loaded.dtype, details=loaded.details)

    async def run(self, lane: Lane, task: Task, batch: Batch) -> Done:
        assert self._lanes is not None
        assert self._end is not None
        if self._end.done():
            raise EngineEnded(self._end.result())
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Done] = loop.create_future()

        def settle(outcome: Done | BackendFailed) -> None:
            if answered.done():
                return
            if isinstance(outcome, BackendFailed):
                answered.set_exception(outcome)
            else:
                answered.set_result(outcome)

        self._running.add(answered)
        self._lanes.submit(lane, task, batch, lambda outcome: loop.call_soon_threadsafe(settle, outcome))
        try:
            return await answered
        finally:
            self._running.discard(answered)

    async def ended(self) -> str:
        assert self._end is not None
        return await asyncio.shield(self._end)

    def die(self, how: str) -> None:
        """End as a process does that is killed: what is in work is lost."""
        assert self._end is not None
        self._end.get_loop().call_soon_threadsafe(self._lose, how)

    def _lose(self, how: str) -> None:
        assert self._end is not None
        self._end.set_result(how)
        for answered in self._running:
            answered.set_exception(EngineEnded(how))

    async def stop(self) -> None:
        if self._end is not None and not self._end.done():
            self._end.set_result("it was stopped")
        if self._lanes is not None:
            await asyncio.to_thread(self._lanes.stop)
