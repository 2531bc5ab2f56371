"""What a scrape must ask for before it can tell it: readiness, a disk, a database. None waits long for an answer."""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from service_kit.errors import ServiceError

# Answers on one machine take milliseconds. What hangs is told by a later scrape: Prometheus gives up after 10 s, and
# then knows nothing of the service at all.
SCRAPE_WAITS_S = 0.25

_log = logging.getLogger("service_kit.metrics")

Ask = Callable[[], Awaitable[None]]


class ScrapeQuestions:
    """Asks all questions at once when somebody scrapes, each at most once at a time."""

    def __init__(self) -> None:
        """Asks nothing yet."""
        self._asks: list[Ask] = []
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def add(self, ask: Ask) -> None:
        """ask: sets gauges. It is called on the event loop, and must not block it."""
        self._asks.append(ask)

    async def answered(self) -> None:
        """Ask, and wait until all is answered or SCRAPE_WAITS_S are over. Never fails: what fails is logged."""
        tasks = [self._task(number, ask) for number, ask in enumerate(self._asks)]
        if tasks:
            await asyncio.wait(tasks, timeout=SCRAPE_WAITS_S)

    def _task(self, number: int, ask: Ask) -> asyncio.Task[None]:
        task = self._tasks.get(number)
        # Another loop: a test that serves one app in several loops.
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = self._tasks[number] = asyncio.create_task(_answer(ask), name="a scrape's question")
        return task


async def _answer(ask: Ask) -> None:
    try:
        await ask()
    except Exception as exc:
        detail = exc.logged if isinstance(exc, ServiceError) else type(exc).__name__
        _log.warning("a metric cannot be read", extra={"detail": detail})


class DiskGauges:
    """service_disk_free_bytes and service_disk_size_bytes of the disk that holds a folder."""

    def __init__(self, registry: CollectorRegistry, folder: Path, volume: str):
        """folder: need not exist yet. volume: the label, a word for what is kept there."""
        self._folder = folder
        labels = ["volume"]
        free = Gauge("service_disk_free_bytes", "Left to this process on the disk.", labels, registry=registry)
        size = Gauge("service_disk_size_bytes", "Of the whole disk.", labels, registry=registry)
        self._free, self._size = free.labels(volume), size.labels(volume)

    async def ask(self) -> None:
        """Look. In a thread, since a network's disk may hang."""
        usage = await asyncio.to_thread(self._usage)
        self._free.set(usage.free)
        self._size.set(usage.total)

    def _usage(self) -> shutil._ntuple_diskusage:
        folder = self._folder.absolute()
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return shutil.disk_usage(folder)
