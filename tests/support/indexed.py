"""A small index for tests of search: the real manifest, a chunk store, and files put in without the indexer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rag_app.clients.embedding import Embedder
from rag_app.core.bm25 import document_vector
from rag_app.core.models import Chunk, EmbeddedChunk
from rag_app.core.tokens import document_terms
from rag_app.db.chunks import ChunkStore
from rag_app.db.manifest import Manifest
from rag_app.db.records import INDEXED, FileRow, FileUpdate, Source


@dataclass
class SmallIndex:
    """Where chunks are put and found again."""

    store: ChunkStore
    manifest: Manifest
    embedder: Embedder

    def repository(self, name: str, ref: str = "main", commit: str = "c0ffee") -> str:
        """Register an empty repository; its id."""
        identifier = self.manifest.register(name, Source("path", f"/somewhere/{name}"))
        self.manifest.set_ref(identifier, ref, commit, indexed_at=1.0)
        return identifier

    async def put(self, repository: str, chunks: Sequence[Chunk]) -> None:
        """Index chunks as the indexer does: points first, then the manifest."""
        await self.put_points(chunks)
        by_path: dict[str, list[Chunk]] = {}
        for chunk in chunks:
            by_path.setdefault(chunk.span.path, []).append(chunk)
        updates = [
            FileUpdate(
                FileRow(path, of[0].blob, INDEXED, of[0].language, len(of)), chunk_frequencies([_terms(c) for c in of])
            )
            for path, of in by_path.items()
        ]
        self.manifest.files.commit(repository, updates)

    async def put_points(self, chunks: Sequence[Chunk]) -> None:
        """Points that the manifest does not name."""
        await self.store.prepare(await self.embedder.identity())
        vectors = await self.embedder.model.aget_text_embedding_batch([chunk.text for chunk in chunks])
        embedded = [
            EmbeddedChunk(chunk, tuple(vector), document_vector(_terms(chunk)))
            for chunk, vector in zip(chunks, vectors, strict=True)
        ]
        await self.store.upsert(embedded)


def chunk_frequencies(counts: Sequence[Mapping[int, int]]) -> dict[int, int]:
    """Term id -> number of chunks that have it."""
    found: dict[int, int] = {}
    for one in counts:
        for term in one:
            found[term] = found.get(term, 0) + 1
    return found


def open_manifest(folder: Path) -> Manifest:
    """A new manifest in a folder."""
    manifest = Manifest(folder / "manifest.sqlite")
    manifest.open()
    return manifest


def _terms(chunk: Chunk) -> Mapping[int, int]:
    return document_terms(chunk.span.path, chunk.qualified_name, chunk.text)
