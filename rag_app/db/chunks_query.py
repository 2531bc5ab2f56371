"""What every search sends, without the client: its models cost the caller more than the search itself.

Measured in a search over 2,515 chunks, two arms of 100 candidates: by the client the query costs this process 13.8
CPU-ms and waits 13.6 ms for the index, in plain JSON 10.2 and 9.2. Fetching ten hits: 5.2 ms and 3.0.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from qdrant_client import models

from rag_app.core.models import Chunk, SparseVector
from rag_app.db.chunks_light import LightChunks
from rag_app.db.chunks_payload import DENSE, LIGHT, SPARSE, chunk_of
from service_kit.errors import NotFound, Unavailable, Upstream
from service_kit.http import OutgoingClient

_LIGHT = {"include": LIGHT}


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of asking: a dense vector (dim,) or the IDF half of BM25, and how many candidates are wanted of it."""

    vector: tuple[float, ...] | SparseVector
    limit: int


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate of one arm, without its text. `score`: cosine, or the BM25 score; higher is better."""

    chunk: Chunk
    score: float


class SearchRoutes:
    """Routes of one collection, in plain JSON. Each call is retried once on Unavailable, within the deadline."""

    def __init__(
        self,
        http: OutgoingClient,
        alias: str,
        light: LightChunks,
        dense_search: models.SearchParams | None = None,
        consistency: str | int | None = None,
    ):
        """http: for Qdrant's address; closed by whoever made it. light: chunks that were found before.

        consistency: as QDRANT_READ_CONSISTENCY says it.
        """
        self._http = http
        self._light = light
        self._collection = f"/collections/{alias}"
        self._params = {} if dense_search is None else {"params": _json(dense_search)}
        self._asked = "" if consistency is None else f"?consistency={consistency}"

    async def ask(self, arms: Sequence[Arm], narrowed: models.Filter) -> list[list[Found]]:
        """Candidates of each arm, best first. Of those that are known only ids and scores are asked for."""
        condition, payload = _json(narrowed), _LIGHT if not self._light.knows_most else False
        searches = [self._search(arm, condition, payload) for arm in arms]
        answer = await self._post("/points/query/batch", {"searches": searches})
        with _as_told():
            points = {point["id"]: point for one in answer for point in one["points"]}
            known = self._light.known(points)
            unknown = [i for i in points if i not in known]
            if payload:
                found = [chunk_of(i, points[i]["payload"]) for i in unknown]
            else:
                found = await self.retrieve(unknown, _LIGHT) if unknown else []
            self._light.keep(found)
            known |= {chunk.id: chunk for chunk in found}
            return [
                [Found(chunk, point["score"]) for point in one["points"] if (chunk := known.get(point["id"]))]
                for one in answer
            ]

    async def scored(self, vector: tuple[float, ...], limit: int, narrowed: models.Filter) -> list[Found]:
        """Up to `limit` whole chunks with their cosines to `vector`."""
        body = {"query": list(vector), "using": DENSE, "filter": _json(narrowed), "limit": limit, "with_payload": True}
        body |= self._params
        answer = await self._post("/points/query", body)
        with _as_told():
            return [_found(point) for point in answer["points"]]

    async def retrieve(self, ids: Sequence[str], payload: Any = True) -> list[Chunk]:
        """Chunks, whole unless `payload` says otherwise, those that are missing left out, in no meaningful order."""
        answer = await self._post("/points", {"ids": list(ids), "with_payload": payload})
        with _as_told():
            return [chunk_of(point["id"], point["payload"]) for point in answer]

    def _search(self, arm: Arm, condition: dict[str, Any], payload: Any) -> dict[str, Any]:
        using = _using(arm)
        return {
            "query": _plain(arm.vector),
            "using": using,
            "filter": condition,
            "limit": arm.limit,
            "with_payload": payload,
            **(self._params if using == DENSE else {}),
        }

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        try:
            answer = await self._http.call("POST", self._collection + path + self._asked, body)
        except NotFound as exc:
            message = f"Qdrant lacks the collection ({exc.message}); sync a repository to build it"
            raise Unavailable(message, retry_after_s=5, logged=f"Qdrant lacks the collection ({exc.logged})") from exc
        with _as_told():
            return answer["result"]


def request_of(arm: Arm, narrowed: models.Filter, dense_search: models.SearchParams | None) -> models.QueryRequest:
    """The same request in the client's words, for clients that are not HTTP."""
    return models.QueryRequest(
        query=_plain(arm.vector)
        if not isinstance(arm.vector, SparseVector)
        else models.SparseVector(**_plain(arm.vector)),
        using=_using(arm),
        filter=narrowed,
        limit=arm.limit,
        params=dense_search if _using(arm) == DENSE else None,
        with_payload=models.PayloadSelectorInclude(include=LIGHT),
    )


@contextmanager
def _as_told() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError) as exc:
        raise Upstream("Qdrant answered a query with something else than its API says") from exc


def _json(told: models.Filter | models.SearchParams) -> dict[str, Any]:
    return told.model_dump(mode="json", by_alias=True, exclude_none=True)


def _found(point: dict[str, Any]) -> Found:
    return Found(chunk_of(point["id"], point["payload"]), point["score"])


def _using(arm: Arm) -> str:
    return SPARSE if isinstance(arm.vector, SparseVector) else DENSE


def _plain(vector: tuple[float, ...] | SparseVector) -> Any:
    if isinstance(vector, SparseVector):
        return {"indices": list(vector.indices), "values": list(vector.values)}
    return list(vector)
