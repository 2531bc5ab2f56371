"""HTTP only: what TEI tells of its model and tokens, and OpenAI's /v1/embeddings, each in its product's shapes."""

import base64
from typing import cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from embedding_service.backends.base import Vectors
from embedding_service.features.embedding.envelopes import OPENAI_FAILURES, TEI_FAILURES
from embedding_service.features.embedding.schemas import (
    INTEGER,
    TEXT,
    VECTOR,
    OpenAIEmbeddingRequest,
    TokenizeRequest,
    array,
    documented,
    read,
    record,
)
from embedding_service.features.embedding.service import Embedded, EmbeddingService, EmbedOptions
from embedding_service.features.embedding.wire import compute_headers, counted, json_response, while_connected

_PLACE = {"type": ["integer", "null"]}
_TOKENS = array(array(record(id=INTEGER, text=TEXT, special={"type": "boolean"}, start=_PLACE, stop=_PLACE)))
_EMBEDDINGS = record(
    object={"const": "list"},
    data=array(record(object={"const": "embedding"}, embedding={"anyOf": [VECTOR, TEXT]}, index=INTEGER)),
    model=TEXT,
    usage=record(prompt_tokens=INTEGER, total_tokens=INTEGER),
)


def tei_router(service: EmbeddingService) -> APIRouter:
    """/tokenize and /info, as text-embeddings-inference 1.9 has them."""
    router = APIRouter(tags=["text-embeddings-inference"], responses=TEI_FAILURES)

    @router.post("/tokenize", summary="Tokens of texts", openapi_extra=documented(TokenizeRequest, _TOKENS))
    async def tokenize(request: Request) -> Response:
        body = await read(request, TokenizeRequest)
        texts = cast(list[str], body.inputs.items)
        found = await service.tokenize(texts, body.add_special_tokens, body.prompt_name)
        return Response(found, media_type="application/json")

    @router.get("/info", summary="The model and the limits")
    async def info() -> Response:
        return json_response(service.info())

    return router


def health_router(service: EmbeddingService) -> APIRouter:
    """/health, and GET / and /ping (SageMaker's), which no key guards."""
    router = APIRouter(tags=["text-embeddings-inference"], responses=TEI_FAILURES)

    @router.get("/", include_in_schema=False)
    @router.get("/ping", include_in_schema=False)
    @router.head("/health", include_in_schema=False)  # balancers ask so, and TEI answers them
    @router.get("/health", summary="200 when it can embed", response_class=Response)
    async def health() -> Response:
        service.require_ready()
        return Response()

    return router


def openai_router(service: EmbeddingService) -> APIRouter:
    """/v1/embeddings (and /embeddings), for OpenAI's clients."""
    router = APIRouter(tags=["openai"], responses=OPENAI_FAILURES)

    @router.post("/embeddings", include_in_schema=False)
    @router.post(
        "/v1/embeddings", summary="Vectors of texts", openapi_extra=documented(OpenAIEmbeddingRequest, _EMBEDDINGS)
    )
    async def embeddings(request: Request) -> Response:
        body = await read(request, OpenAIEmbeddingRequest)

        async def embed() -> Embedded:
            with counted(service.metrics, body.input.is_single):
                return await service.embed(body.input.items, EmbedOptions(dimensions=body.dimensions))

        embedded = await while_connected(request, embed())
        rows = _base64_rows(embedded.vectors) if body.encoding_format == "base64" else list(embedded.vectors)
        answer = {
            "object": "list",
            "data": [{"object": "embedding", "embedding": row, "index": index} for index, row in enumerate(rows)],
            "model": service.info()["served_model_name"],
            "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
        }
        return json_response(answer, compute_headers(embedded))

    return router


def _base64_rows(vectors: Vectors) -> list[str]:
    """Each row as base64 of its little-endian float32s, as OpenAI's clients ask for."""
    return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
