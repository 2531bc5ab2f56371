"""Where chunks live. With filters.py the only module that knows Qdrant: its types and errors do not leave them."""

import asyncio
import math
import warnings
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, ParamSpec, TypeVar

import httpx
from pydantic import SecretStr
from qdrant_client import AsyncQdrantClient, models

from rag_app.core.models import Chunk, EmbeddedChunk, ModelIdentity, Scope
from rag_app.core.settings import RagSettings
from rag_app.db.chunks_light import LightChunks
from rag_app.db.chunks_payload import DENSE, LIGHT, SPARSE, chunk_of, point_of
from rag_app.db.chunks_query import Arm, Found, SearchRoutes, request_of
from rag_app.db.filters import Selection, any_of, blobs, condition
from rag_app.db.layout import collection_options, dense_params, dense_search, read_options, write_options
from rag_app.db.qdrant_errors import mapped
from service_kit.context import REQUEST_ID_HEADER, request_id
from service_kit.errors import Conflict, Unavailable
from service_kit.http import OutgoingClient

__all__ = ["Arm", "ChunkStore", "Found"]

# Part of the collection's name: a change in payload keys or vectors raises it, and a new index is built beside the old.
SCHEMA_VERSION = 1

# Keywords that queries filter by. `repository` is the tenant: Qdrant lays a tenant's points together.
_KEYWORDS = ("layer", "path", "blob", "language", "folders", "names")

# 128 points of 384 numbers are about 1.2 MB of JSON.
_POINTS_A_REQUEST = 128
_BLOBS_A_REQUEST = 256

# One retry after a lost connection or a 503 hides a restart. Every call here may be repeated: ids are derived.
_BACKOFF_S = 0.2

P = ParamSpec("P")
T = TypeVar("T")


async def _named_request(request: httpx.Request) -> None:
    request.headers[REQUEST_ID_HEADER] = request_id.get()


class ChunkStore:
    """The chunks of all repositories, in one collection that is reached by an alias."""

    def __init__(self, settings: RagSettings, client: AsyncQdrantClient | None = None):
        """client: another one than the settings name (tests pass one in memory). Does no I/O."""
        self._alias = settings.collection
        self._deadline_s = settings.qdrant_timeout_s
        self._address = f"http://{settings.qdrant_host}:{settings.qdrant_port}"
        key = settings.qdrant_api_key
        headers = {"api-key": key.get_secret_value()} if key else {}
        self._http = OutgoingClient(
            "Qdrant", self._address, setting="QDRANT_HOST, QDRANT_PORT", deadline_s=self._deadline_s, headers=headers
        )
        self._settings = settings
        self._writes, self._reads = write_options(settings), read_options(settings)
        self._dense_search = dense_search(settings)
        consistency = settings.qdrant_read_consistency
        self._light = LightChunks()
        self._routes = (
            SearchRoutes(self._http, self._alias, self._light, self._dense_search, consistency)
            if client is None
            else None
        )
        self._client = client or self._connect(key)
        self._checked: str | None = None

    def _connect(self, key: SecretStr | None) -> AsyncQdrantClient:
        with warnings.catch_warnings():
            # Qdrant is spoken to by http, on this machine or in its own network: the way is the operator's choice.
            warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
            return AsyncQdrantClient(
                url=self._address,
                api_key=key.get_secret_value() if key else None,
                timeout=math.ceil(self._deadline_s),
                check_compatibility=False,  # it would call the server from the constructor
                event_hooks={"request": [_named_request]},
            )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
        await self._http.close()

    async def ready(self) -> None:
        """Return where Qdrant answers; raise Unavailable or DeadlineExceeded where it does not."""
        await self._call(self._client.collection_exists, self._alias)

    async def prepare(self, identity: ModelIdentity) -> bool:
        """Make the collection of a model, its payload indexes and the alias, where they are missing.

        Returns whether it was made now, and so holds nothing of any repository. Conflict where the alias leads to the
        collection of another model or schema: vectors of two models never mix, and another program may be using it.
        """
        name = self._collection(identity)
        target = await self._target()
        if target is None:
            await self._create(name, identity.dim)
            await self._index_payload(name)
            await self._point_alias(name)
        elif target != name:
            raise self._of_another_make(target, identity)
        self._checked = identity.hash
        return target is None

    async def check(self, identity: ModelIdentity) -> None:
        """Raise Conflict where the index holds vectors of another model than `identity`. Asked once a model."""
        if self._checked == identity.hash:
            return
        target = await self._target()
        if target is not None and target != self._collection(identity):
            raise self._of_another_make(target, identity)
        if target is not None:
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

    def _collection(self, identity: ModelIdentity) -> str:
        return f"{self._alias}_v{SCHEMA_VERSION}_{identity.hash[:12]}"

    def _of_another_make(self, target: str, identity: ModelIdentity) -> Conflict:
        anew = "name a new COLLECTION and sync one repository: all are indexed again, one after the other"
        if not target.startswith(f"{self._alias}_v{SCHEMA_VERSION}_"):
            return Conflict(f"the index {target!r} was built by another version of this program; {anew}")
        return Conflict(
            f"the index {target!r} was built with another embedding model than {identity.name!r} "
            f"({identity.hash[:12]}); set EMBEDDING_MODEL, EMBEDDING_URL and EMBEDDING_IN_PROCESS back, or {anew}"
        )

    async def _target(self) -> str | None:
        """The collection that the alias leads to, None where there is no alias."""
        answer = await self._call(self._client.get_aliases)
        return next((a.collection_name for a in answer.aliases if a.alias_name == self._alias), None)

    async def _create(self, name: str, dim: int) -> None:
        if await self._call(self._client.collection_exists, name):
            return
        await self._call(
            self._client.create_collection,
            name,
            vectors_config={DENSE: dense_params(self._settings, dim)},
            sparse_vectors_config={SPARSE: models.SparseVectorParams()},
            **collection_options(self._settings),
        )

    async def _index_payload(self, name: str) -> None:
        keyword = models.KeywordIndexType.KEYWORD
        schemas = {key: models.KeywordIndexParams(type=keyword) for key in _KEYWORDS}
        schemas["repository"] = models.KeywordIndexParams(type=keyword, is_tenant=True)
        for key, schema in schemas.items():
            await self._call(self._client.create_payload_index, name, field_name=key, field_schema=schema, wait=True)

    async def _point_alias(self, name: str) -> None:
        alias = models.CreateAlias(collection_name=name, alias_name=self._alias)
        operation = models.CreateAliasOperation(create_alias=alias)
        await self._call(self._client.update_collection_aliases, [operation])

    async def _delete(self, which: models.Filter) -> None:
        selector = models.FilterSelector(filter=which)
        await self._call(self._client.delete, self._alias, points_selector=selector, wait=True, **self._writes)

    async def _call(self, method: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        with mapped(self._address, self._deadline_s):
            async with asyncio.timeout(self._deadline_s):
                try:
                    return await self._once(method, *args, **kwargs)
                except Unavailable:
                    await asyncio.sleep(_BACKOFF_S)
                    return await self._once(method, *args, **kwargs)

    async def _once(self, method: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        with mapped(self._address, self._deadline_s):
            return await method(*args, **kwargs)
