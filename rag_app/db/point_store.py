"""Whole points, read and written in pages: what backup, restore and migrate go through.

A server is spoken to in plain JSON: the client's models cost several times what they carry. A client in memory, which
has no such door, is asked by its methods, and answers the same.
"""

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from qdrant_client import AsyncQdrantClient, models

from rag_app.core.settings import RagSettings
from rag_app.db.chunks_payload import SPARSE
from rag_app.db.filters import blobs
from rag_app.db.points import FileKey, Points
from rag_app.db.qdrant_calls import Qdrant
from service_kit.errors import Conflict, NotFound, Upstream
from service_kit.http import OutgoingClient

# Points of a request: 3.5 MB of JSON with 384 dimensions as vector_db writes them, of 32 that it takes. It holds its
# interpreter for the 40 ms of such a page, which a search waits at most.
PAGE_POINTS = 256

_WHOLE = {"with_payload": True, "with_vector": True}


class _Door(Protocol):
    async def scroll(self, name: str, body: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]: ...
    async def retrieve(self, name: str, ids: Sequence[str]) -> list[dict[str, Any]]: ...
    async def upsert(self, name: str, points: Sequence[dict[str, Any]]) -> None: ...
    async def delete(self, name: str, ids: Sequence[str]) -> None: ...
    async def count(self, name: str) -> int: ...


class PointStore:
    """The points of collections, each named by its own name and not by the alias, which may move meanwhile."""

    def __init__(self, qdrant: Qdrant):
        """qdrant: closed by whoever made it."""
        self._door: _Door = _Memory(qdrant) if qdrant.rest is None else _Rest(qdrant.rest, qdrant.settings)

    async def page(self, name: str, offset: str | None = None) -> tuple[Points, str | None]:
        """PAGE_POINTS points in the order of their ids, and where the next page begins; None after the last."""
        records, following = await self._door.scroll(name, {"limit": PAGE_POINTS, "offset": offset, **_WHOLE})
        return Points.of_wire(records), following

    async def page_of_ids(self, name: str, offset: str | None = None) -> tuple[list[str], str | None]:
        """As page(), ids only."""
        body = {"limit": PAGE_POINTS, "offset": offset, "with_payload": False, "with_vector": False}
        records, following = await self._door.scroll(name, body)
        return [str(record["id"]) for record in records], following

    async def of_files(self, name: str, keys: Collection[FileKey]) -> Points:
        """Every point of some files."""
        by_layer: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for repository, layer, path, blob in keys:
            by_layer.setdefault((repository, layer), []).append((path, blob))
        found = []
        for (repository, layer), pairs in by_layer.items():
            narrowed = blobs(repository, layer, pairs).model_dump(mode="json", by_alias=True, exclude_none=True)
            offset = None
            while True:
                body = {"filter": narrowed, "limit": PAGE_POINTS, "offset": offset, **_WHOLE}
                records, offset = await self._door.scroll(name, body)
                found.append(Points.of_wire(records))
                if offset is None:
                    break
        return Points.joined(found)

    async def retrieve(self, name: str, ids: Sequence[str]) -> Points:
        """The points of some ids; those that are not there are left out."""
        return Points.of_wire(await self._door.retrieve(name, ids))

    async def upsert(self, name: str, points: Points) -> None:
        """Write points, replacing those of equal id; returns when that is acknowledged."""
        if len(points):
            await self._door.upsert(name, points.to_wire())

    async def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete points by id."""
        if ids:
            await self._door.delete(name, ids)

    async def count(self, name: str) -> int:
        """How many points a collection has, exactly."""
        return await self._door.count(name)


class _Rest:
    def __init__(self, http: OutgoingClient, settings: RagSettings):
        self._http = http
        consistency, ordering = settings.qdrant_read_consistency, settings.qdrant_write_ordering
        self._reads = "" if consistency is None else f"?consistency={consistency}"
        self._writes = "?wait=true" + ("" if ordering is None else f"&ordering={ordering}")

    async def scroll(self, name: str, body: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]:
        answer = await self._call("POST", f"/collections/{name}/points/scroll{self._reads}", body)
        return answer["points"], answer["next_page_offset"]

    async def retrieve(self, name: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        path = f"/collections/{name}/points{self._reads}"
        found: list[dict[str, Any]] = await self._call("POST", path, {"ids": ids, **_WHOLE})
        return found

    async def upsert(self, name: str, points: Sequence[dict[str, Any]]) -> None:
        await self._call("PUT", f"/collections/{name}/points{self._writes}", {"points": points})

    async def delete(self, name: str, ids: Sequence[str]) -> None:
        await self._call("POST", f"/collections/{name}/points/delete{self._writes}", {"points": ids})

    async def count(self, name: str) -> int:
        answer = await self._call("POST", f"/collections/{name}/points/count", {"exact": True})
        return int(answer["count"])

    async def _call(self, method: str, path: str, body: Any) -> Any:
        try:
            return (await self._http.call(method, path, body))["result"]
        except NotFound as exc:
            raise Conflict(f"the collection went while it was worked on ({exc.message}); begin again") from exc
        except (KeyError, TypeError) as exc:
            raise Upstream("Qdrant answered with something else than its API says") from exc


class _Memory:
    def __init__(self, qdrant: Qdrant):
        self._qdrant = qdrant
        self._client: AsyncQdrantClient = qdrant.client

    async def scroll(self, name: str, body: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]:
        given = body.get("filter")
        records, following = await self._qdrant.call(
            self._client.scroll,
            name,
            scroll_filter=None if given is None else models.Filter.model_validate(given),
            limit=body["limit"],
            offset=body["offset"],
            with_payload=body["with_payload"],
            with_vectors=body["with_vector"],
        )
        return [_plain(record) for record in records], following

    async def retrieve(self, name: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        found = await self._qdrant.call(
            self._client.retrieve, name, ids=list(ids), with_payload=True, with_vectors=True
        )
        return [_plain(record) for record in found]

    async def upsert(self, name: str, points: Sequence[dict[str, Any]]) -> None:
        made = [
            models.PointStruct(id=point["id"], payload=point["payload"], vector=_listed(point["vector"]))
            for point in points
        ]
        await self._qdrant.call(self._client.upsert, name, points=made, wait=True)

    async def delete(self, name: str, ids: Sequence[str]) -> None:
        selector = models.PointIdsList(points=list(ids))
        await self._qdrant.call(self._client.delete, name, points_selector=selector, wait=True)

    async def count(self, name: str) -> int:
        return int((await self._qdrant.call(self._client.count, name, exact=True)).count)


def _plain(record: models.Record) -> dict[str, Any]:
    return {"id": record.id, **record.model_dump(include={"payload", "vector"})}


def _listed(vectors: dict[str, Any]) -> dict[str, Any]:
    return {
        name: models.SparseVector(**{part: array.tolist() for part, array in vector.items()})
        if name == SPARSE
        else vector.tolist()
        for name, vector in vectors.items()
    }
