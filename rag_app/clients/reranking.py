"""A cross-encoder behind text-embeddings-inference's /rerank: it reads the query and a passage together."""

import asyncio
from collections.abc import Sequence
from typing import Any

from rag_app.core.settings import RagSettings
from service_kit.errors import NotFound, Upstream
from service_kit.http import OutgoingClient, bearer

# TEI's own default, for a server that does not tell its limit.
DEFAULT_CLIENT_BATCH = 32


class Reranker:
    """Says how well passages answer a query. Fails with Unavailable, DeadlineExceeded, Overloaded or Upstream."""

    def __init__(self, settings: RagSettings):
        """Nothing connects before the first call."""
        self._batch: int | None = None
        self._http = OutgoingClient(
            "the reranker",
            settings.rerank_url,
            setting="RERANK_URL",
            deadline_s=settings.rerank_timeout_s,
            headers=bearer(settings.rerank_api_key),
        )

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._http.close()

    async def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """(n,), each in [0, 1], in the order of the texts. What is over the model's window is cut."""
        if self._batch is None:
            told = await self._call("GET", "/info")
            limit = told.get("max_client_batch_size") if isinstance(told, dict) else None
            self._batch = int(limit or DEFAULT_CLIENT_BATCH)
        batches = [texts[first : first + self._batch] for first in range(0, len(texts), self._batch)]
        answers = await asyncio.gather(*(self._scores(query, batch) for batch in batches))
        return [score for answer in answers for score in answer]

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        try:
            return await self._http.call(method, path, body)
        except NotFound as exc:
            raise Upstream(f"the reranker has no {path}: is it a TEI server?", logged=exc.logged) from exc

    async def _scores(self, query: str, texts: Sequence[str]) -> list[float]:
        body = {"query": query, "texts": list(texts), "raw_scores": False, "truncate": True}
        ranks = await self._call("POST", "/rerank", body)
        try:
            scores = {int(rank["index"]): float(rank["score"]) for rank in ranks}
            found = [scores[index] for index in range(len(texts))]
        except (TypeError, KeyError, ValueError) as exc:
            raise _not_rerank(ranks) from exc
        if not all(0 <= score <= 1 for score in found):
            raise _not_rerank(ranks)
        return found


def create_reranker(settings: RagSettings) -> Reranker | None:
    """The one that the settings name; None, as by default, where they name none."""
    return Reranker(settings) if settings.rerank_url else None


def _not_rerank(answer: Any) -> Upstream:
    return Upstream(
        "the reranker's /rerank did not answer with an index and a score from 0 to 1 for each text: "
        "is it a TEI server with a cross-encoder?",
        logged=f"/rerank answered with {str(answer)[:300]}",
    )
