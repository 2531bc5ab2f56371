"""One run over one repository: find, compare with the manifest, index what changed, forget what is gone.

Points are written first, the manifest after them, and old points are deleted last: whenever the process is killed,
each file is found as it was or as it is, and the next run sweeps what is left over.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import BaseNode

from rag_app.clients.embedding import Embedder
from rag_app.core.models import ModelIdentity
from rag_app.core.settings import RagSettings
from rag_app.core.version import PROGRAM_VERSION
from rag_app.db.chunks import ChunkStore
from rag_app.db.embedding_cache import EmbeddingCache
from rag_app.db.manifest import Manifest
from rag_app.db.manifest_schema import BASE_LAYER
from rag_app.db.records import INDEXED, FileRow, FileUpdate, Repository
from rag_app.features.indexing.chunking import chunker
from rag_app.features.indexing.git import Head, head_of, update_clone
from rag_app.features.indexing.pipeline import (
    CachedEmbedding,
    CodeNode,
    Splitter,
    document,
    document_frequencies,
    embedded_chunk,
    ingestion_pipeline,
)
from rag_app.features.indexing.progress import ProgressMeter
from rag_app.features.indexing.reading import Read, read
from rag_app.features.indexing.sources import allowed_folder
from rag_app.features.indexing.walk import Found, walk
from service_kit.errors import ValidationFailed

# Files that go through the pipeline together: enough chunks for a few batches of the model, little enough that progress
# moves every few seconds and a killed run loses no more.
BATCH_FILES = 12
BATCH_BYTES = 100_000
# One batch is embedded while the next is read and split.
BATCHES_AT_ONCE = 2

# Points of one upsert. Making them takes the event loop 0.5 ms each: more at once would hold up searches.
UPSERT_POINTS = 64


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run works with."""

    manifest: Manifest
    store: ChunkStore
    embedder: Embedder
    cache: EmbeddingCache
    settings: RagSettings


class IndexRun:
    """One job's work on one repository."""

    def __init__(self, tools: Tools, repository: Repository, meter: ProgressMeter):
        """repository: as it is in the manifest when the run begins."""
        self._tools = tools
        self._repository = repository
        self._meter = meter
        self._known: dict[str, FileRow] = {}
        self._recipe = ""

    async def run(self) -> None:
        """Do all of it. Fails with the first failure of a service it needs; what is committed by then stays."""
        tools, repository = self._tools, self._repository
        identity = await tools.embedder.identity()
        folder, head = await self._source()
        if await tools.store.prepare(identity):
            await asyncio.to_thread(self._renew_others)
        await asyncio.to_thread(tools.manifest.set_model, identity, PROGRAM_VERSION)
        await self._sweep()
        # A file that was chunked or embedded in another way is not unchanged.
        self._recipe = f"{chunker.VERSION}:{identity.max_tokens}:{identity.hash[:16]}|"
        is_whole = await self._points_are_there()
        tools.manifest.set_ref(repository.id, head.ref, head.commit, indexed_at=None)
        await self._index(folder, identity, trust_rows=is_whole)
        commit = f"{head.commit}-dirty" if head.is_dirty else head.commit
        tools.manifest.set_ref(repository.id, head.ref, commit, indexed_at=time.time())

    def _renew_others(self) -> None:
        """A collection made just now lacks every repository: those that were indexed before are indexed again."""
        manifest = self._tools.manifest
        for other in manifest.repositories(manifest.all_ids()):
            if other.id != self._repository.id and other.chunks:
                manifest.jobs.enqueue(other.id)

    async def _source(self) -> tuple[Path, Head]:
        repository, settings = self._repository, self._tools.settings
        if repository.source.type == "git":
            folder = settings.data_dir / "clones" / repository.id
            return folder, await update_clone(repository.source.location, repository.wanted_ref, folder)
        folder = allowed_folder(repository.source.location, settings.roots)
        head = await head_of(folder)
        if repository.wanted_ref not in (None, head.ref, head.commit):
            raise ValidationFailed(
                f"ref: {repository.wanted_ref!r} is not checked out in {folder}, which is at {head.ref!r}; "
                "a folder is indexed as it is: check it out, or register the git address"
            )
        return folder, head

    async def _points_are_there(self) -> bool:
        """Whether the store still has what the manifest speaks of; a store that lost points is filled again."""
        return await self._tools.store.count(frozenset({self._repository.id})) >= self._repository.chunks

    async def _index(self, folder: Path, identity: ModelIdentity, *, trust_rows: bool) -> None:
        repository = self._repository
        found = await asyncio.to_thread(self._walk, folder)
        self._known = await asyncio.to_thread(self._tools.manifest.files.of, repository.id)
        candidates = [entry for entry in found if entry.reason is None]
        self._meter.expect(len(candidates))
        changed = [entry for entry in candidates if not (trust_rows and self._is_unchanged(entry))]
        self._meter.files(len(candidates) - len(changed))
        pipeline = ingestion_pipeline(
            Splitter(self._tools.embedder),
            CachedEmbedding(self._tools.embedder.model, self._tools.cache, identity, self._meter.chunks),
        )
        await self._in_batches(folder, changed, pipeline, trust_rows)
        await self._settle(found)

    def _walk(self, folder: Path) -> list[Found]:
        repository, settings = self._repository, self._tools.settings
        return list(
            walk(
                folder,
                max_file_bytes=settings.max_file_bytes,
                include=repository.include,
                exclude=repository.exclude,
                own_data=settings.data_dir.resolve(),
            )
        )

    def _is_unchanged(self, entry: Found) -> bool:
        row = self._known.get(entry.path)
        # A key is read again: an include may ask for it now.
        return row is not None and row.signature == self._recipe + entry.signature and row.outcome != "secret"

    async def _in_batches(
        self, folder: Path, entries: Sequence[Found], pipeline: IngestionPipeline, trust_rows: bool
    ) -> None:
        slots = asyncio.Semaphore(BATCHES_AT_ONCE)

        async def one(batch: Sequence[Found]) -> None:
            try:
                await self._batch(folder, batch, pipeline, trust_rows)
            finally:
                slots.release()

        try:
            async with asyncio.TaskGroup() as group:
                for batch in batches(entries):
                    await slots.acquire()
                    group.create_task(one(batch))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def _batch(
        self, folder: Path, entries: Sequence[Found], pipeline: IngestionPipeline, trust_rows: bool
    ) -> None:
        limit, include = self._tools.settings.max_file_bytes, self._repository.include
        files = await asyncio.to_thread(
            lambda: [read(folder, entry.path, max_file_bytes=limit, include=include) for entry in entries]
        )
        touched = [file for file in files if trust_rows and self._is_same(file)]
        left_out = [file for file in files if file.reason is not None and file not in touched]
        fresh = [file for file in files if file.reason is None and file not in touched]
        nodes = await pipeline.arun(
            documents=[document(self._repository.id, file.path, file.blob, file.text) for file in fresh]
        )
        await self._write(fresh, nodes, left_out, touched)
        self._meter.files(len(entries))

    def _is_same(self, file: Read) -> bool:
        row = self._known.get(file.path)
        if row is None or not file.blob or not row.signature.startswith(self._recipe):
            return False
        return (row.blob, row.outcome) == (file.blob, file.reason or INDEXED)

    async def _write(
        self, fresh: Sequence[Read], nodes: Sequence[BaseNode], left_out: Sequence[Read], touched: Sequence[Read]
    ) -> None:
        """Points, then the manifest, then the points that it no longer speaks of."""
        files, store, repository = self._tools.manifest.files, self._tools.store, self._repository.id
        by_path: dict[str, list[CodeNode]] = {file.path: [] for file in fresh}
        for node in nodes:
            assert isinstance(node, CodeNode)
            by_path[node.chunk.span.path].append(node)
        await self._drop_longer(by_path)
        await asyncio.to_thread(files.will_write, repository, [(file.path, file.blob) for file in fresh])
        chunks = [embedded_chunk(node) for node in nodes]
        for first in range(0, len(chunks), UPSERT_POINTS):
            await store.upsert(chunks[first : first + UPSERT_POINTS])
        updates = [self._indexed(file, by_path[file.path]) for file in fresh]
        updates += [self._left_out(file) for file in left_out]
        await asyncio.to_thread(files.commit, repository, updates)
        await asyncio.to_thread(
            files.refresh, repository, {file.path: self._recipe + file.signature for file in touched}
        )
        own = {file.path for file in (*fresh, *left_out)}
        await self._delete([blob for blob in await asyncio.to_thread(files.to_sweep, repository) if blob[0] in own])

    def _indexed(self, file: Read, nodes: Sequence[CodeNode]) -> FileUpdate:
        language = nodes[0].chunk.language if nodes else ""
        row = FileRow(file.path, file.blob, INDEXED, language, len(nodes), self._recipe + file.signature)
        return FileUpdate(row, document_frequencies(nodes))

    def _left_out(self, file: Read) -> FileUpdate:
        return FileUpdate(FileRow(file.path, file.blob, file.reason or "", signature=self._recipe + file.signature))

    async def _drop_longer(self, by_path: dict[str, list[CodeNode]]) -> None:
        """A file that is chunked anew from the same bytes, into fewer chunks: the surplus points have the same blob.

        Only then are points deleted before the new ones are there; a run that is killed between finds too few points
        and the next one writes them again.
        """
        surplus = [
            (path, nodes[0].chunk.blob if nodes else self._known[path].blob)
            for path, nodes in by_path.items()
            if path in self._known
            and len(nodes) < self._known[path].chunks
            and (not nodes or nodes[0].chunk.blob == self._known[path].blob)
        ]
        if surplus:
            await self._tools.store.delete_blobs(self._repository.id, BASE_LAYER, surplus)

    async def _settle(self, found: Sequence[Found]) -> None:
        """Write what was left out by name, forget what is gone, delete the points of both."""
        files, repository = self._tools.manifest.files, self._repository.id
        left_out = {entry.path: entry.reason for entry in found if entry.reason is not None}
        updates = [
            FileUpdate(FileRow(path, "", reason))
            for path, reason in left_out.items()
            if path not in self._known or self._known[path].outcome != reason
        ]
        there = {entry.path for entry in found}
        gone = [path for path in self._known if path not in there]
        await asyncio.to_thread(files.commit, repository, updates, gone)
        await self._sweep()

    async def _sweep(self) -> None:
        await self._delete(await asyncio.to_thread(self._tools.manifest.files.to_sweep, self._repository.id))

    async def _delete(self, blobs: Sequence[tuple[str, str]]) -> None:
        if blobs:
            await self._tools.store.delete_blobs(self._repository.id, BASE_LAYER, blobs)
            await asyncio.to_thread(self._tools.manifest.files.swept, self._repository.id, blobs)


def batches(entries: Sequence[Found]) -> Iterator[list[Found]]:
    """Consecutive files, at most BATCH_FILES and, but for a single larger one, BATCH_BYTES together."""
    batch: list[Found] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == BATCH_FILES or size + entry.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size
    if batch:
        yield batch
