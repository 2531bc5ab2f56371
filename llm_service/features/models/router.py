"""GET /v1/models and /version."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from llm_service.admission.gate import Gate
from llm_service.core.envelope import documented_failures
from llm_service.core.settings import NOT_CONFIGURED
from llm_service.features.models.service import ModelsService


def models_router(service: ModelsService, gate: Gate) -> APIRouter:
    """What is served. All of it asks for a key where the gateway does."""
    router = APIRouter(responses=documented_failures())

    @router.get("/v1/models", tags=["OpenAI"], summary="What the backends serve, and the aliases")
    async def list_models(request: Request) -> dict[str, Any]:
        gate.check(request.scope["headers"])
        models = {"object": "list", "data": await service.models()}
        return models if service.is_configured else {**models, "message": NOT_CONFIGURED}

    # The names of vLLM's models hold slashes.
    @router.get("/v1/models/{model_id:path}", tags=["OpenAI"], summary="One of them")
    async def get_model(request: Request, model_id: str) -> dict[str, Any]:
        gate.check(request.scope["headers"])
        return await service.model(model_id)

    @router.get("/version", tags=["vLLM"], summary="The version of the first backend that tells one")
    async def version(request: Request) -> Response:
        gate.check(request.scope["headers"])
        return Response(await service.version(), media_type="application/json")

    return router
