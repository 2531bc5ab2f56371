"""POST /v1/search."""

from collections.abc import Callable

from fastapi import APIRouter

from rag_app.core.models import Scope
from rag_app.core.settings import RagSettings
from rag_app.core.wire import checked_text
from rag_app.features.search.query import checked_limit
from rag_app.features.search.schemas import SearchRequest, SearchResponse
from rag_app.features.search.service import SearchService, narrowed_scope


def search_router(service: SearchService, scope: Callable[[], Scope], settings: RagSettings) -> APIRouter:
    """The route. scope: the repositories that the caller may see."""
    router = APIRouter(tags=["search"])

    @router.post("/v1/search", summary="Find code by meaning, words and names", response_model_exclude_none=True)
    async def search(body: SearchRequest) -> SearchResponse:
        query = body.search_query(checked_text("query", body.query, settings.max_query_chars))
        checked_limit(query, settings)
        result = await service.search(query, narrowed_scope(scope(), body.repositories))
        return SearchResponse.of(result, body.explain)

    return router
