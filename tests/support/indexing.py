"""An indexer of its own for a test: real manifest, real cache, Qdrant's engine in memory, a toy TEI over real HTTP."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdrant_client import AsyncQdrantClient

from rag_app.clients.embedding import Embedder, ServiceEmbedder
from rag_app.core.models import Chunk
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from rag_app.db.filters import Selection
from rag_app.db.manifest import Manifest
from rag_app.db.records import Job, Repository, Source
from rag_app.features.indexing.service import IndexingService
from tests.support.fake_tei import FakeTei
from tests.support.live import live

JOB_LIMIT_S = 60


@dataclass
class Indexer:
    """`root` is the folder that may be indexed, `tei` what was asked of the model."""

    root: Path
    tei: FakeTei
    manifest: Manifest
    store: ChunkStore
    embedder: Embedder
    settings: RagSettings
    service: IndexingService

    async def index(self, folder: Path | None = None, **options: object) -> tuple[Repository, Job]:
        """Register a folder (else `root`), wait for its job; the repository as it is then."""
        _, job = await self.service.register(Source("path", str(folder or self.root)), **options)  # type: ignore[arg-type]
        return await self.finished(job)

    async def finished(self, job: Job) -> tuple[Repository, Job]:
        """Wait until a job is over."""
        async with asyncio.timeout(JOB_LIMIT_S):
            async for now in self.service.events(job.id, self.manifest.all_ids()):
                job = now
        return self.service.get(job.repository, self.manifest.all_ids()), job

    async def chunks(self, repository: str) -> list[Chunk]:
        """What a search can find: points that the manifest speaks of, by path and line."""
        found = await self.points(repository)
        keys = {chunk.id: (chunk.repository, chunk.layer, chunk.span.path, chunk.blob) for chunk in found}
        current = self.manifest.current(set(keys.values()))
        return [chunk for chunk in found if keys[chunk.id] in current]

    async def points(self, repository: str) -> list[Chunk]:
        """Every point of a repository, leftovers included."""
        scope = frozenset({repository})
        light = await self.store.named(Selection(scope, frozenset({"base"})), 10_000)
        found = await self.store.retrieve([chunk.id for chunk in light], scope)
        return sorted(found, key=lambda chunk: (chunk.span.path, chunk.span.start_line))


@asynccontextmanager
async def running_indexer(folder: Path, tei: FakeTei | None = None, **settings: object) -> AsyncIterator[Indexer]:
    """Start one with its data and root in `folder`; `settings` override."""
    root = folder / "root"
    root.mkdir(exist_ok=True)
    tei = tei or FakeTei(max_input_length=256, max_client_batch_size=64)
    with live(tei.app()) as url:
        values: dict[str, Any] = {"data_dir": folder / "data", "allowed_roots": str(root), "embedding_url": url}
        chosen = RagSettings(_env_file=None, **{**values, **settings})
        manifest = Manifest(chosen.data_dir / "manifest.sqlite")
        manifest.open()
        store = ChunkStore(chosen, AsyncQdrantClient(":memory:"))
        embedder = ServiceEmbedder(chosen)
        service = IndexingService(manifest, store, embedder, chosen)
        await service.start()
        try:
            yield Indexer(root, tei, manifest, store, embedder, chosen, service)
        finally:
            await service.stop()
            await embedder.close()
            await store.close()
            manifest.close()


def git(folder: Path, *words: str) -> str:
    """Run git in a folder, as nobody's user."""
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def old(path: Path, text: str | None = None) -> Path:
    """Write a file and make it look like one that nobody touched for a while."""
    if text is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    return path
