"""POST /v1/search, and the weights that a repository's searches are ranked with."""

from collections.abc import Callable

from fastapi import APIRouter

from rag_app.core.models import Scope
from rag_app.core.settings import RagSettings
from rag_app.core.wire import checked_text
from rag_app.db.records import KeptRanking
from rag_app.features.search.kept import bounds
from rag_app.features.search.query import checked_limit
from rag_app.features.search.schemas import KeepRequest, RankingOut, SearchRequest, SearchResponse
from rag_app.features.search.service import SearchService, narrowed_scope
from rag_app.features.search.weights import Weights


def search_router(service: SearchService, scope: Callable[[], Scope], settings: RagSettings) -> APIRouter:
    """The route. scope: the repositories that the caller may see."""
    router = APIRouter(tags=["search"])

    def told(kept: KeptRanking | None) -> RankingOut:
        return RankingOut.of(kept, Weights().named(), bounds(), service.idle_weights())

    @router.post("/v1/search", summary="Find code by meaning, words and names", response_model_exclude_none=True)
    async def search(body: SearchRequest) -> SearchResponse:
        query = body.search_query(checked_text("query", body.query, settings.max_query_chars))
        checked_limit(query, settings)
        result = await service.search(query, narrowed_scope(scope(), body.repositories))
        return SearchResponse.of(result, body.explain)

    @router.get("/v1/repositories/{identifier}/ranking", summary="A repository's weights, all defaults and bounds")
    async def ranking(identifier: str) -> RankingOut:
        return told(await service.kept_ranking(identifier, scope()))

    @router.put("/v1/repositories/{identifier}/ranking", summary="Keep weights for searches of this repository")
    async def keep(identifier: str, body: KeepRequest) -> RankingOut:
        return told(await service.keep_ranking(identifier, scope(), body.weights, body.evidence))

    @router.delete("/v1/repositories/{identifier}/ranking", status_code=204, summary="Go back to the defaults")
    async def forget(identifier: str) -> None:
        await service.forget_ranking(identifier, scope())

    return router
