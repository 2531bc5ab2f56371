"""What may be done with repositories: register, sync, look, delete; and the jobs that do the work."""

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

from rag_app.clients.embedding import Embedder
from rag_app.core.models import Scope
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from rag_app.db.embedding_cache import EmbeddingCache
from rag_app.db.manifest import Manifest
from rag_app.db.records import Job, JobError, Repository, Source
from rag_app.features.indexing.ignore import check_globs
from rag_app.features.indexing.lease import NAME as LEASE
from rag_app.features.indexing.metrics import IndexMetrics
from rag_app.features.indexing.run import Tools
from rag_app.features.indexing.sources import allowed_folder, allowed_ref, allowed_url, default_name
from rag_app.features.indexing.worker import Worker
from service_kit.errors import Conflict, NotFound, ServiceError, ValidationFailed
from service_kit.metrics import HttpMetrics
from service_kit.scrape import DiskGauges

_log = logging.getLogger("rag_app.indexing")

# How often a watcher of a job looks.
WATCH_EVERY_S = 0.2
MAX_SAME_NAMES = 100


class IndexingService:
    """Repositories and their jobs. Reads take the caller's scope; what is not in it is NotFound."""

    def __init__(
        self,
        manifest: Manifest,
        store: ChunkStore,
        embedder: Embedder,
        settings: RagSettings,
        metrics: HttpMetrics | None = None,
    ):
        """manifest: opened and closed by the caller. metrics: where what it counts goes, if anywhere."""
        self._manifest = manifest
        self._store = store
        self._settings = settings
        self._cache = EmbeddingCache(settings.data_dir / "embeddings.sqlite")
        self._worker = Worker(
            Tools(manifest, store, embedder, self._cache, settings), metrics.registry if metrics else None
        )
        if metrics is not None:
            metrics.questions.add(IndexMetrics(manifest, settings.data_dir, metrics.registry).ask)
            metrics.questions.add(DiskGauges(metrics.registry, settings.data_dir, "data").ask)

    async def start(self) -> None:
        """Open the cache and begin to work on jobs, those that an earlier process left included.

        A process of the role `api` does neither: what it puts down, an indexer on the same manifest sees.
        """
        if self._settings.rag_role == "api":
            return
        await asyncio.to_thread(self._cache.open)
        self._worker.start()

    async def stop(self) -> None:
        """End the work in hand (it goes on at the next start) and close the cache."""
        await self._worker.stop()
        self._cache.close()

    async def register(
        self,
        source: Source,
        name: str | None = None,
        ref: str | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> tuple[Repository, Job]:
        """The repository of a source, made where there is none, and a job that indexes it.

        ValidationFailed where the source may not be indexed or a pattern cannot be read, Conflict where the name
        belongs to another source.
        """
        checked = await asyncio.to_thread(self._checked, source)
        allowed_ref(ref)
        check_globs("include", include)
        check_globs("exclude", exclude)
        identifier = await asyncio.to_thread(self._named, checked, name, ref, include, exclude)
        job = self._enqueue(identifier)
        return self._manifest.repository(identifier, frozenset({identifier})), job

    async def sync(self, identifier: str, scope: Scope) -> tuple[Repository, Job]:
        """A job that brings the index up to date."""
        self._manifest.repository(identifier, scope)
        job = self._enqueue(identifier)
        return self._manifest.repository(identifier, scope), job

    def _enqueue(self, identifier: str) -> Job:
        job = self._manifest.jobs.enqueue(identifier)
        # From here on the job's own id is in all lines: this one leads from the request to it.
        _log.info("queued", extra={"job": job.id, "repository": identifier})
        self._worker.wake()
        return job

    def list(self, scope: Scope) -> list[Repository]:
        """Repositories in scope, by name."""
        return self._manifest.repositories(scope)

    def get(self, identifier: str, scope: Scope) -> Repository:
        """One repository."""
        return self._manifest.repository(identifier, scope)

    async def delete(self, identifier: str, scope: Scope) -> None:
        """Forget a repository. Conflict while it is being indexed.

        Searches find nothing of it from now on; where Qdrant cannot be reached, its points are deleted later.
        """
        self._manifest.repository(identifier, scope)
        self._manifest.delete(identifier)
        with suppress(RecursionError):  # a tree of a thousand folders in each other stays on the disk
            await asyncio.to_thread(shutil.rmtree, self._settings.data_dir / "clones" / identifier, ignore_errors=True)
        if identifier not in self._manifest.deleted() or self._manifest.jobs.in_maintenance():
            return  # a restore brings the repository back, or leaves its points to the worker
        try:
            await self._store.delete_repository(identifier)
        except ServiceError as exc:
            _log.warning("points will be deleted later", extra={"repository": identifier, "code": exc.code})
            return
        self._manifest.confirm_deleted(identifier)

    def has_indexer(self) -> bool:
        """Does any process hold the lease to index?"""
        return self._manifest.jobs.is_leased(LEASE)

    def job(self, identifier: str, scope: Scope) -> Job:
        """One job."""
        job = self._worker.unwritten.get(identifier) or self._manifest.jobs.get(identifier)
        if job.repository not in scope:
            raise NotFound(f"no job {identifier!r}; it may have gone with its repository")
        return job

    def events(self, identifier: str, scope: Scope) -> AsyncIterator[Job]:
        """The job each time it has changed, from how it is now to its end. NotFound at once where there is none.

        One that is deleted with its repository while it is watched ends as failed, for that reason.
        """
        return self._watched(self.job(identifier, scope), scope)

    async def _watched(self, job: Job, scope: Scope) -> AsyncIterator[Job]:
        yield job
        while not job.is_over:
            await asyncio.sleep(WATCH_EVERY_S)
            seen = job
            try:
                job = self.job(job.id, scope)
            except NotFound as exc:
                error = JobError(exc.code, exc.message)
                job = replace(seen, state="failed", error=error, finished_at=time.time())
            if job != seen:
                yield job

    def _checked(self, source: Source) -> Source:
        if source.type == "path":
            return Source("path", str(allowed_folder(source.location, self._settings.roots)))
        if source.type == "git":
            hosts = [host for host in self._settings.git_allowed_hosts.replace(",", " ").split() if host]
            return Source("git", allowed_url(source.location, hosts))
        raise ValidationFailed(f"source.type: {source.type!r} is not known; it is 'path' or 'git'")

    def _named(
        self, source: Source, name: str | None, ref: str | None, include: Sequence[str], exclude: Sequence[str]
    ) -> str:
        """Register under the wanted name, else the one it has, else its folder's, numbered where that is taken."""

        def register(candidate: str) -> str:
            return self._manifest.register(candidate, source, wanted_ref=ref, include=include, exclude=exclude)

        wanted = name or self._manifest.name_of(source)
        if wanted is not None:
            return register(wanted)
        stem = default_name(source.location)
        for number in range(1, MAX_SAME_NAMES):
            try:
                return register(stem if number == 1 else f"{stem}-{number}")
            except Conflict:
                continue
        raise Conflict(f"{MAX_SAME_NAMES} repositories are named {stem!r}; give another 'name'")
