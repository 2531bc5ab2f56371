"""HTTP only: TEI's routes and OpenAI's /v1/embeddings, each in its product's shapes."""

import asyncio
import base64
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, cast

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from embedding_service.backends.base import Vectors
from embedding_service.features.embedding.metrics import TeiMetrics
from embedding_service.features.embedding.schemas import (
    EmbedRequest,
    Inputs,
    OpenAIEmbeddingRequest,
    TokenizeRequest,
    body_schema,
    read,
)
from embedding_service.features.embedding.service import Embedded, EmbeddingService, EmbedOptions
from service_kit.errors import ServiceError


def tei_router(service: EmbeddingService, metrics: TeiMetrics) -> APIRouter:
    """/embed (and POST /), /tokenize, /info, /health (and GET /), as text-embeddings-inference 1.9 has them."""
    router = APIRouter(tags=["text-embeddings-inference"])

    @router.post("/", include_in_schema=False)
    @router.post("/embed", summary="Vectors of texts", openapi_extra=body_schema(EmbedRequest))
    async def embed(request: Request) -> Response:
        body = await read(request, EmbedRequest)
        direction = body.truncation_direction
        options = EmbedOptions(body.truncate, direction, body.prompt_name, body.normalize, body.dimensions)
        with _counted(metrics, body.inputs):
            embedded = await _while_connected(request, service.embed(body.inputs.items, options))
        return _json(embedded.vectors, _compute_headers(embedded))

    @router.post("/tokenize", summary="Tokens of texts", openapi_extra=body_schema(TokenizeRequest))
    async def tokenize(request: Request) -> Response:
        body = await read(request, TokenizeRequest)
        texts = cast(list[str], body.inputs.items)
        found = await service.tokenize(texts, body.add_special_tokens, body.prompt_name)
        return _json([[asdict(token) for token in tokens] for tokens in found])

    @router.get("/info", summary="The model and the limits")
    async def info() -> Response:
        return _json(service.info())

    @router.get("/", include_in_schema=False)
    @router.get("/health", summary="200 when it can embed")
    async def health() -> Response:
        service.require_ready()
        return Response()

    return router


def openai_router(service: EmbeddingService, metrics: TeiMetrics) -> APIRouter:
    """/v1/embeddings (and /embeddings), for OpenAI's clients."""
    router = APIRouter(tags=["openai"])

    @router.post("/embeddings", include_in_schema=False)
    @router.post("/v1/embeddings", summary="Vectors of texts", openapi_extra=body_schema(OpenAIEmbeddingRequest))
    async def embeddings(request: Request) -> Response:
        body = await read(request, OpenAIEmbeddingRequest)
        with _counted(metrics, body.input):
            options = EmbedOptions(dimensions=body.dimensions)
            embedded = await _while_connected(request, service.embed(body.input.items, options))
        rows = _base64_rows(embedded.vectors) if body.encoding_format == "base64" else list(embedded.vectors)
        answer = {
            "object": "list",
            "data": [{"object": "embedding", "embedding": row, "index": index} for index, row in enumerate(rows)],
            "model": service.info()["served_model_name"],
            "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
        }
        return _json(answer, _compute_headers(embedded))

    return router


@contextmanager
def _counted(metrics: TeiMetrics, inputs: Inputs) -> Iterator[None]:
    method = "single" if inputs.is_single else "batch"
    metrics.requests.labels(method).inc()
    try:
        yield
    except ServiceError as exc:
        metrics.failures.labels(exc.code).inc()
        raise
    metrics.successes.labels(method).inc()


class ClientLeft(ServiceError):
    """Nobody waits for the answer any more. 499, as nginx logs it; only logs and metrics see it."""

    code, status = "client_left", 499


async def _while_connected(request: Request, work: Coroutine[Any, Any, Embedded]) -> Embedded:
    """The result of `work`; where the client leaves first, the work is cancelled.

    Without it a client that gives up and tries again leaves each of its bulk requests to be embedded to the end.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_client_leaves(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientLeft("the client left before its answer")
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()


async def _client_leaves(request: Request) -> None:
    # The body has been read, so that the next message is the end.
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _base64_rows(vectors: Vectors) -> list[str]:
    """Each row as base64 of its little-endian float32s, as OpenAI's clients ask for."""
    return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    # Straight from numpy: 256 vectors take 4 ms this way and about 30 as lists of Python floats.
    return Response(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), 200, headers, "application/json")


def _compute_headers(embedded: Embedded) -> dict[str, str]:
    """TEI's account of a request; times in whole milliseconds."""
    total, tokenization, queue, inference = (
        str(round(seconds * 1e3))
        for seconds in (embedded.total_s, embedded.tokenization_s, embedded.queue_s, embedded.inference_s)
    )
    return {
        "x-compute-type": "cpu+optimized",
        "x-compute-time": total,
        "x-compute-characters": str(embedded.characters),
        "x-compute-tokens": str(embedded.tokens),
        "x-total-time": total,
        "x-tokenization-time": tokenization,
        "x-queue-time": queue,
        "x-inference-time": inference,
    }
