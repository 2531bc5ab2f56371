"""OpenAI's routes."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from llm_service.core.settings import NOT_CONFIGURED
from llm_service.features.chat.relay import CLIENT_LEFT, Relay
from llm_service.features.chat.schemas import CHAT_REQUEST_DOC, parse_chat_request
from llm_service.features.chat.service import ChatService


def chat_router(service: ChatService, *, is_configured: bool, stall_s: float) -> APIRouter:
    """POST /v1/chat/completions and GET /v1/models. stall_s: how long a client may leave its answer unread."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])

    @router.post(
        "/chat/completions",
        summary="Answer a conversation, whole or as server-sent events",
        openapi_extra=CHAT_REQUEST_DOC,
        response_class=Response,
    )
    async def chat_completions(request: Request) -> Response:
        try:
            body = await request.body()
        except ClientDisconnect:
            return Response(status_code=CLIENT_LEFT)
        return Relay(service, parse_chat_request(body), stall_s=stall_s)

    @router.get("/models", summary="What the configured server serves")
    async def list_models() -> dict[str, Any]:
        models = {"object": "list", "data": list(await service.models())}
        return models if is_configured else {**models, "message": NOT_CONFIGURED}

    # The names of vLLM's models hold slashes.
    @router.get("/models/{model_id:path}", summary="One of them")
    async def get_model(model_id: str) -> dict[str, Any]:
        return await service.model(model_id)

    return router
