"""POST /v1/ask and /v1/generate."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from rag_app.core.models import Scope
from rag_app.core.settings import RagSettings
from rag_app.features.generation.schemas import (
    AnswerOut,
    AskRequest,
    GeneratedOut,
    GenerateRequest,
    event_of,
)
from rag_app.features.generation.service import AnswerService
from rag_app.features.generation.streaming import events, while_connected
from rag_app.features.search.service import checked_limit, narrowed_scope

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With `stream`: server-sent events `search_results`, `message` ({delta}), `citation`, "
        "`final_answer` (this object), `error`, `done`.",
        "content": {"text/event-stream": {}},
    }
}


def generation_router(service: AnswerService, scope: Callable[[], Scope], settings: RagSettings) -> APIRouter:
    """The routes. scope: the repositories that the caller may see."""
    router = APIRouter(prefix="/v1", tags=["generation"])

    @router.post("/ask", summary="Answer a question with citations", response_model=AnswerOut, responses=_STREAM)
    async def ask(body: AskRequest, request: Request) -> Response:
        conversation = body.conversation(settings.max_query_chars)
        query, visible = checked_limit(body.search_query(""), settings), narrowed_scope(scope(), body.repositories)
        if body.stream:
            return events(request, await service.ask_stream(conversation, query, visible), event_of)
        return await while_connected(
            request, service.ask(conversation, query, visible), lambda answer: _json(AnswerOut.of(answer))
        )

    @router.post(
        "/generate", summary="Write code after the repository's own", response_model=GeneratedOut, responses=_STREAM
    )
    async def generate(body: GenerateRequest, request: Request) -> Response:
        wanted = body.write_request(settings.max_query_chars)
        query, visible = checked_limit(body.search_query(""), settings), narrowed_scope(scope(), body.repositories)
        if body.stream:
            return events(request, await service.generate_stream(wanted, query, visible), event_of)
        return await while_connected(
            request, service.generate(wanted, query, visible), lambda code: _json(GeneratedOut.of(code))
        )

    return router


def _json(model: AnswerOut | GeneratedOut) -> Response:
    return Response(model.model_dump_json(exclude_none=True), media_type="application/json")
