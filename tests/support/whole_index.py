"""A whole index, points and manifest, in any kind of store: what backup, restore and migrate are tried on."""

from pathlib import Path

import numpy as np
from qdrant_client import AsyncQdrantClient

from rag_app.core.models import Chunk, EmbeddedChunk, ModelIdentity, SparseVector
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from rag_app.db.collections import Collections
from rag_app.db.manifest import Manifest
from rag_app.db.point_store import PointStore
from rag_app.db.points import Points
from rag_app.db.qdrant_calls import Qdrant
from rag_app.db.records import INDEXED, FileRow, FileUpdate, Source
from rag_app.features.backup.service import BackupService
from tests.support.chunks import make_chunk

COLLECTION = "backup_contract"  # on a real server only what begins so is touched
IDENTITY = ModelIdentity("toy", 24, 256, "0123456789ab" + "0" * 52)
CHUNKS = 700  # three pages of 256


def embedded(repository: str, chunks: int = CHUNKS) -> list[EmbeddedChunk]:
    """Chunks of three a file, with vectors that mean nothing; every 50th has no words."""
    rng = np.random.default_rng(3)
    made = []
    for number in range(chunks):
        vector = rng.standard_normal(IDENTITY.dim)
        indices = () if number % 50 == 0 else tuple(sorted(int(i) for i in set(rng.integers(0, 2**32, 9))))
        values = tuple(float(v) for v in rng.random(len(indices)).astype(np.float32))
        text = f"def f{number}():\n    return 'ein Straßenname 🚏 \\u0000 {rng.random()}'\n"
        chunk = make_chunk(
            f"src/f{number // 3}.py", text, repository=repository, blob=f"b{number // 3}", start_line=number
        )
        dense = tuple(float(v) for v in vector / np.linalg.norm(vector))
        made.append(EmbeddedChunk(chunk, dense, SparseVector(indices, values)))
    return made


class Place:
    """A store with a manifest of its own beside it."""

    def __init__(self, folder: Path, settings: RagSettings, client: AsyncQdrantClient | None):
        folder.mkdir(exist_ok=True)
        self.settings = settings.model_copy(update={"data_dir": folder, "collection": COLLECTION})
        self.qdrant = Qdrant(self.settings, client)
        self.service = BackupService(self.settings, self.qdrant)
        self.collections = Collections(self.qdrant, self.settings.collection)
        self.points = PointStore(self.qdrant)

    async def wipe(self) -> None:
        """Delete all of it."""
        for name in await self.collections.names():
            if name.startswith(f"{COLLECTION}_v"):
                await self.collections.delete(name)
        for path in self.settings.data_dir.iterdir():
            if path.is_file():
                path.unlink()

    async def fill(self, chunks: int = CHUNKS) -> None:
        """Index a project that is nowhere, as the indexer would."""
        manifest = Manifest(self.settings.data_dir / "manifest.sqlite")
        manifest.open()
        store = ChunkStore(self.settings, self.qdrant.client if self.qdrant.rest is None else None)
        await store.prepare(IDENTITY)
        manifest.set_model(IDENTITY, "0.1.0")
        repository = manifest.register("project", Source("path", "/project"))
        manifest.set_ref(repository, "main", "c0ffee", indexed_at=1.0)
        made = embedded(repository, chunks)
        await store.upsert(made)
        by_path: dict[str, list[Chunk]] = {}
        for one in made:
            by_path.setdefault(one.chunk.span.path, []).append(one.chunk)
        rows = [FileRow(path, of[0].blob, INDEXED, "python", len(of), "r|s") for path, of in by_path.items()]
        manifest.files.commit(repository, [FileUpdate(row, {1: 1}) for row in rows])
        manifest.close()
        if self.qdrant.rest is not None:
            await store.close()

    async def all(self) -> Points:
        """Every point that is served, in the order of the ids."""
        name = await self.collections.target()
        assert name is not None
        pages, offset = [], None
        while True:
            points, offset = await self.points.page(name, offset)
            pages.append(points)
            if offset is None:
                return Points.joined(pages)
