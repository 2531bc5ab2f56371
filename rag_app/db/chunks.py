"""Where chunks live. Only this floor knows Qdrant: its types and errors do not leave it."""

from collections.abc import Collection, Sequence
from typing import Any

from qdrant_client import AsyncQdrantClient, models

from rag_app.core.models import Chunk, EmbeddedChunk, ModelIdentity, Scope
from rag_app.core.settings import RagSettings
from rag_app.db.chunks_light import LightChunks
from rag_app.db.chunks_payload import DENSE, LIGHT, chunk_of, point_of
from rag_app.db.chunks_query import Arm, Found, SearchRoutes, request_of
from rag_app.db.collections import Collections, check_make, name_of
from rag_app.db.filters import Selection, any_of, blobs, condition
from rag_app.db.layout import dense_search, read_options, write_options
from rag_app.db.qdrant_calls import Qdrant

__all__ = ["Arm", "ChunkStore", "Found"]

# 128 points of 384 numbers are about 1.2 MB of JSON.
_POINTS_A_REQUEST = 128
_BLOBS_A_REQUEST = 256


class ChunkStore:
    """The chunks of all repositories, in one collection that is reached by an alias."""

    def __init__(self, settings: RagSettings, client: AsyncQdrantClient | None = None):
        """client: another one than the settings name (tests pass one in memory). Does no I/O."""
        self._alias = settings.collection
        self._qdrant = Qdrant(settings, client)
        self._collections = Collections(self._qdrant, self._alias)
        self._writes, self._reads = write_options(settings), read_options(settings)
        self._dense_search = dense_search(settings)
        self._light = LightChunks()
        rest, consistency = self._qdrant.rest, settings.qdrant_read_consistency
        self._routes = (
            None if rest is None else SearchRoutes(rest, self._alias, self._light, self._dense_search, consistency)
        )
        self._client = self._qdrant.client
        self._call = self._qdrant.call
        self._checked: str | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._qdrant.close()

    async def ready(self) -> None:
        """Return where Qdrant answers; raise Unavailable or DeadlineExceeded where it does not."""
        await self._call(self._client.collection_exists, self._alias)

    async def prepare(self, identity: ModelIdentity) -> bool:
        """Make the collection of a model, its payload indexes and the alias, where they are missing.

        Returns whether it was made now, and so holds nothing of any repository. Conflict where the alias leads to the
        collection of another model or schema: vectors of two models never mix, and another program may be using it.
        """
        target = await self._target()
        if target is None:
            name = str(name_of(self._alias, identity))
            await self._collections.make(name, identity.dim)
            await self._collections.point_alias(name)
        else:
            check_make(target, self._alias, identity)
        self._checked = identity.hash
        return target is None

    async def check(self, identity: ModelIdentity) -> None:
        """Raise Conflict where the index holds vectors of another model than `identity`. Asked once a model."""
        if self._checked == identity.hash:
            return
        target = await self._target()
        if target is not None:
            check_make(target, self._alias, identity)
            self._checked = identity.hash

    async def upsert(self, chunks: Sequence[EmbeddedChunk]) -> None:
        """Write chunks, replacing those of equal id. Returns once Qdrant has acknowledged all of them."""
        self._light.forget(embedded.chunk.id for embedded in chunks)
        for begin in range(0, len(chunks), _POINTS_A_REQUEST):
            points = [point_of(chunk) for chunk in chunks[begin : begin + _POINTS_A_REQUEST]]
            await self._call(self._client.upsert, self._alias, points=points, wait=True, **self._writes)

    async def delete_blobs(self, repository: str, layer: str, keys: Collection[tuple[str, str]]) -> None:
        """Delete the chunks of (path, blob) pairs of one layer."""
        pairs = sorted(keys)
        for begin in range(0, len(pairs), _BLOBS_A_REQUEST):
            await self._delete(blobs(repository, layer, pairs[begin : begin + _BLOBS_A_REQUEST]))

    async def delete_repository(self, repository: str) -> None:
        """Delete every chunk of a repository; none where nothing was ever indexed."""
        if await self._target() is not None:
            await self._delete(models.Filter(must=[any_of("repository", [repository])]))

    async def query(self, arms: Sequence[Arm], selection: Selection) -> list[list[Found]]:
        """Candidates of each arm, best first, all arms in one request, each narrowed to `selection`.

        That every chunk is of one of all repositories costs Edge as much to find out as the search itself (26,000
        chunks: 3.6 CPU-ms with it, 1.8 without). So it is not asked where the selection is whole, and asked where a
        stranger turns up: one that is being deleted, or was registered a moment ago.
        """
        if selection.is_whole:
            arms_found = await self._query(arms, condition(selection, of_any_repository=True))
            if all(found.chunk.repository in selection.repositories for arm in arms_found for found in arm):
                return arms_found
        return await self._query(arms, condition(selection))

    async def _query(self, arms: Sequence[Arm], narrowed: models.Filter) -> list[list[Found]]:
        if self._routes is not None:
            return await self._routes.ask(arms, narrowed)
        requests = [request_of(arm, narrowed, self._dense_search) for arm in arms]
        answers = await self._call(self._client.query_batch_points, self._alias, requests=requests, **self._reads)
        return [[Found(chunk_of(p.id, p.payload), p.score) for p in answer.points] for answer in answers]

    async def scored(self, vector: tuple[float, ...], ids: Sequence[str], scope: Scope) -> list[Found]:
        """The whole chunks of `ids` with their cosines to `vector`, in no meaningful order.

        Those that are missing or out of scope are left out. What retrieve() costs and half as much again, for hits of
        which some have no cosine yet: one call in place of two.
        """
        if not ids:
            return []
        known = models.Filter(must=[models.HasIdCondition(has_id=list(ids)), any_of("repository", scope)])
        if self._routes is not None:
            return await self._routes.scored(vector, len(ids), known)
        answer = await self._call(
            self._client.query_points,
            self._alias,
            query=list(vector),
            using=DENSE,
            query_filter=known,
            limit=len(ids),
            with_payload=True,
            search_params=self._dense_search,
            **self._reads,
        )
        return [Found(chunk_of(point.id, point.payload), point.score) for point in answer.points]

    async def named(self, selection: Selection, limit: int) -> list[Chunk]:
        """Up to `limit` chunks of a selection, without text, in no meaningful order."""
        narrowed = condition(selection)
        light = models.PayloadSelectorInclude(include=LIGHT)
        points, _ = await self._call(
            self._client.scroll, self._alias, scroll_filter=narrowed, limit=limit, with_payload=light, **self._reads
        )
        return [chunk_of(point.id, point.payload) for point in points]

    async def retrieve(self, ids: Sequence[str], scope: Scope) -> list[Chunk]:
        """Whole chunks in the order of `ids`; those that are missing or out of scope are left out."""
        if not ids:
            return []
        if self._routes is not None:
            chunks = await self._routes.retrieve(ids)
        else:
            points = await self._call(
                self._client.retrieve, self._alias, ids=list(ids), with_payload=True, **self._reads
            )
            chunks = [chunk_of(point.id, point.payload) for point in points]
        found = {chunk.id: chunk for chunk in chunks}
        return [found[i] for i in ids if i in found and found[i].repository in scope]

    async def of_blob(self, repository: str, layer: str, path: str, blob: str, scope: Scope) -> list[Chunk]:
        """Every chunk of one file, whole, by line; none where it has none or is out of scope."""
        if repository not in scope:
            return []
        found: list[Chunk] = []
        offset: Any = None
        while True:
            points, offset = await self._call(
                self._client.scroll,
                self._alias,
                scroll_filter=blobs(repository, layer, [(path, blob)]),
                limit=_POINTS_A_REQUEST,
                offset=offset,
                with_payload=True,
                **self._reads,
            )
            found += [chunk_of(point.id, point.payload) for point in points]
            if offset is None:
                return sorted(found, key=lambda chunk: chunk.span.start_line)

    async def count(self, scope: Scope) -> int:
        """Chunks in scope, exactly; 0 where nothing was ever indexed."""
        if await self._target() is None:
            return 0
        narrowed = models.Filter(must=[any_of("repository", scope)])
        answer = await self._call(self._client.count, self._alias, count_filter=narrowed, exact=True)
        return int(answer.count)

    async def _target(self) -> str | None:
        return await self._collections.target()

    async def _delete(self, which: models.Filter) -> None:
        selector = models.FilterSelector(filter=which)
        await self._call(self._client.delete, self._alias, points_selector=selector, wait=True, **self._writes)
