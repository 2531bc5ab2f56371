"""Runs jobs, one after the other, in the process that holds the lease."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import replace

from prometheus_client import CollectorRegistry

from rag_app.db.records import Job, JobError, Progress
from rag_app.features.indexing.lease import RENEWED_EVERY_S, Lease
from rag_app.features.indexing.metrics import WorkerMetrics
from rag_app.features.indexing.progress import ProgressMeter
from rag_app.features.indexing.run import IndexRun, Tools
from service_kit.context import request_id
from service_kit.errors import ServiceError, Unavailable

_log = logging.getLogger("rag_app.indexing")

# How soon a job is seen that another process put down, and a lease that another let go.
POLL_S = 1.0
# A row written ten times a second tells a watcher nothing more, and costs a sync of the disk each.
REPORT_EVERY_S = 0.25
# A disk is full for minutes, and each try is a line in the log.
RETRY_S = 5.0


class Worker:
    """The background task. start() and stop() belong to one event loop."""

    def __init__(self, tools: Tools, registry: CollectorRegistry | None = None):
        """registry: where its counters go, if anywhere."""
        self._tools = tools
        self._lease = Lease(tools.manifest.jobs, tools.settings.data_dir)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.unwritten: dict[str, Job] = {}
        self._metrics = WorkerMetrics(registry)

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.create_task(self._work(), name="indexer")

    async def stop(self) -> None:
        """End. A job in hand is put back and begun again at the next start; what it wrote by then stays."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def wake(self) -> None:
        """A job was put down."""
        self._wake.set()

    async def _work(self) -> None:
        try:
            while True:
                try:
                    await self._as_indexer()
                except Unavailable as exc:
                    _log.warning("the indexer waits", extra={"detail": exc.logged})
                    await asyncio.sleep(RETRY_S)
                except Exception:
                    _log.exception("the indexer stumbled; it goes on")
                self._metrics.is_indexer.set(0)
                self._wake.clear()
                await asyncio.sleep(POLL_S)
        finally:
            await asyncio.to_thread(self._lease.give_back)

    async def _as_indexer(self) -> None:
        """Work for as long as the lease is ours."""
        if not await asyncio.to_thread(self._lease.take):
            return
        self._metrics.is_indexer.set(1)
        jobs = self._tools.manifest.jobs
        if lost := await asyncio.to_thread(jobs.requeue_running):
            _log.info("jobs begun by a process that ended are begun again", extra={"jobs": lost})
        while await asyncio.to_thread(self._lease.take):
            await self._forget_deleted()
            job = await asyncio.to_thread(jobs.claim)
            if job is not None:
                await self._under_lease(job)
                continue
            self._wake.clear()
            with suppress(TimeoutError):
                # Not wait_for(): in Python 3.11 it loses a stop() that comes together with a wake().
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()

    async def _under_lease(self, job: Job) -> None:
        """Run a job; renew the lease beside it, and stop where another has taken it (it has the job too, then)."""
        self._metrics.moved()
        running = asyncio.create_task(self._run(job))
        try:
            while not (await asyncio.wait({running}, timeout=RENEWED_EVERY_S))[0]:
                if not await self._renew():
                    _log.warning("another process took the lease", extra={"job": job.id})
                    break
        finally:
            running.cancel()
            await asyncio.wait({running})
            self._metrics.rest()

    async def _renew(self) -> bool:
        """False where another process has the lease. Where the manifest cannot be written, no other can take it."""
        try:
            return await asyncio.to_thread(self._lease.take)
        except Unavailable:
            return True

    async def _run(self, job: Job) -> None:
        request_id.set(job.id)  # in this task: the logs of every service that the job passes name it
        meter = ProgressMeter(_Throttled(self._tools, job, self._metrics))
        jobs = self._tools.manifest.jobs
        try:
            scope = self._tools.manifest.all_ids()
            await IndexRun(self._tools, self._tools.manifest.repository(job.repository, scope), meter).run()
        except asyncio.CancelledError:
            # Not in a thread: this task may not wait any more. Where another took the lease the row is its own.
            if self._lease.take():
                jobs.requeue(job.id)
            raise
        except Exception as exc:
            await self._fail(job, meter.progress, _as_error(exc, job))
            self._metrics.ended.labels("failed").inc()
        else:
            await asyncio.to_thread(jobs.finish, job.id, "succeeded", meter.progress)
            self._metrics.ended.labels("succeeded").inc()
            _log.info("indexed", extra={"job": job.id, "repository": job.repository, **_figures(meter.progress)})
        self._metrics.vectors.labels("model").inc(meter.progress.chunks_embedded)
        self._metrics.vectors.labels("cache").inc(meter.progress.chunks_reused)

    async def _fail(self, job: Job, progress: Progress, error: JobError) -> None:
        """Write why a job failed. Where the disk is full that waits too, and `unwritten` tells it until then."""
        self.unwritten[job.id] = replace(job, state="failed", progress=progress, error=error, finished_at=time.time())
        try:
            while True:
                try:
                    await asyncio.to_thread(self._tools.manifest.jobs.finish, job.id, "failed", progress, error)
                except Unavailable as exc:
                    _log.warning("a failed job cannot be written yet", extra={"job": job.id, "detail": exc.logged})
                    await asyncio.sleep(RETRY_S)
                else:
                    return
        finally:
            del self.unwritten[job.id]

    async def _forget_deleted(self) -> None:
        """Delete the points of repositories that were deleted while Qdrant could not be reached."""
        manifest = self._tools.manifest
        if await asyncio.to_thread(manifest.jobs.in_maintenance):
            return  # what is being restored may hold them again
        for identifier in await asyncio.to_thread(manifest.deleted):
            try:
                await self._tools.store.delete_repository(identifier)
            except ServiceError as exc:
                _log.warning("points of a deleted repository stay for now", extra={"code": exc.code})
                return
            await asyncio.to_thread(manifest.confirm_deleted, identifier)


class _Throttled:
    """Writes progress at most every REPORT_EVERY_S; the first and the last figures are written in any case."""

    def __init__(self, tools: Tools, job: Job, metrics: WorkerMetrics):
        self._metrics = metrics
        self._jobs = tools.manifest.jobs
        self._id = job.id
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        self._metrics.moved()
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REPORT_EVERY_S
            self._jobs.report(self._id, progress)


def _as_error(exc: Exception, job: Job) -> JobError:
    if isinstance(exc, ServiceError):
        _log.warning("a job failed", extra={"job": job.id, "code": exc.code, "detail": exc.logged})
        return JobError(exc.code, exc.message)
    _log.exception("a job failed", exc_info=exc, extra={"job": job.id})
    return JobError("internal", f"internal error; the log has it under job {job.id}")


def _figures(progress: Progress) -> dict[str, int]:
    return {
        "files": progress.files_total,
        "chunks_embedded": progress.chunks_embedded,
        "chunks_reused": progress.chunks_reused,
        "took_ms": progress.elapsed_ms,
    }
