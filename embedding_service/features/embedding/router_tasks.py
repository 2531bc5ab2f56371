"""HTTP only: TEI's inference routes. What each body asks for, and which of them the root means for this model."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from embedding_service.core.model import Kind
from embedding_service.features.embedding.envelopes import TEI_FAILURES
from embedding_service.features.embedding.schemas import (
    INTEGER,
    NUMBER,
    TEXT,
    VECTOR,
    EmbedRequest,
    array,
    documented,
    read,
    record,
    validated,
)
from embedding_service.features.embedding.schemas_tasks import (
    DecodeRequest,
    InputsRequest,
    PredictRequest,
    RerankRequest,
    SimilarityParameters,
    SimilarityRequest,
    VertexRequest,
)
from embedding_service.features.embedding.service import EmbeddingService, EmbedOptions
from embedding_service.features.embedding.tasks import Answer, TaskService
from embedding_service.features.embedding.wire import compute_headers, counted, json_response, while_connected

_Body = TypeVar("_Body", bound=BaseModel)
Work = Callable[[], Coroutine[Any, Any, Answer]]

_WEIGHTS = array(array(record(index=INTEGER, value=NUMBER)))
_SCORED = array(record(score=NUMBER, label=TEXT))
_LABELS = {"anyOf": [_SCORED, array(_SCORED)]}
_RANK = record(index=INTEGER, score=NUMBER)
_RANKS = array({**_RANK, "properties": {**_RANK["properties"], "text": TEXT}})


class Tasks:
    """From a checked body to an answer, counted as TEI counts."""

    def __init__(self, service: EmbeddingService):
        """service: owns the model."""
        self._tasks = TaskService(service)
        self._metrics = service.metrics

    async def embed(self, body: EmbedRequest) -> Answer:
        """POST /embed."""
        options = EmbedOptions(
            body.truncate, body.truncation_direction, body.prompt_name, body.normalize, body.dimensions
        )
        with counted(self._metrics, body.inputs.is_single):
            return await self._tasks.embed(body.inputs.items, options)

    async def embed_all(self, body: InputsRequest) -> Answer:
        """POST /embed_all."""
        with counted(self._metrics, body.inputs.is_single):
            return await self._tasks.embed_all(body.inputs.items, body.truncation, body.prompt_name)

    async def embed_sparse(self, body: InputsRequest) -> Answer:
        """POST /embed_sparse."""
        with counted(self._metrics, body.inputs.is_single):
            return await self._tasks.embed_sparse(body.inputs.items, body.truncation, body.prompt_name)

    async def similarity(self, body: SimilarityRequest) -> Answer:
        """POST /similarity."""
        how = body.parameters or SimilarityParameters()
        with counted(self._metrics, is_single=False):
            return await self._tasks.similarity(
                body.inputs.source_sentence, body.inputs.sentences, how.truncation, how.prompt_name
            )

    async def predict(self, body: PredictRequest) -> Answer:
        """POST /predict: for a single text its labels, for a batch a list of such lists."""
        with counted(self._metrics, body.inputs.is_single):
            answer = await self._tasks.predict(body.inputs.items, body.truncation, body.raw_scores)
        return answer.with_value(answer.value[0]) if body.inputs.is_single else answer

    async def rerank(self, body: RerankRequest) -> Answer:
        """POST /rerank."""
        with counted(self._metrics, is_single=False):
            return await self._tasks.rerank(body.query, body.texts, body.truncation, body.raw_scores, body.return_text)


def tasks_router(service: EmbeddingService, task: str | None) -> APIRouter:
    """/embed, /embed_all, /embed_sparse, /similarity, /predict, /rerank, /decode, /vertex, and POST / and /invocations.

    task: as in the setting TASK.
    """
    router = APIRouter(tags=["text-embeddings-inference"], responses=TEI_FAILURES)
    tasks = Tasks(service)

    def route(
        path: str,
        model: type[_Body],
        do: Callable[[_Body], Coroutine[Any, Any, Answer]],
        summary: str,
        answer: dict[str, Any],
    ) -> None:
        async def endpoint(request: Request) -> Response:
            return await _answered(request, do(await read(request, model)))

        router.add_api_route(
            path, endpoint, methods=["POST"], summary=summary, name=path[1:], openapi_extra=documented(model, answer)
        )

    route("/embed", EmbedRequest, tasks.embed, "Vectors of texts", array(VECTOR))
    route("/embed_all", InputsRequest, tasks.embed_all, "Vectors of the tokens of texts", array(array(VECTOR)))
    route("/embed_sparse", InputsRequest, tasks.embed_sparse, "Weights of the vocabulary for texts (SPLADE)", _WEIGHTS)
    route("/similarity", SimilarityRequest, tasks.similarity, "Cosines of sentences with one", VECTOR)
    route("/predict", PredictRequest, tasks.predict, "Labels of texts or pairs (classifiers and rerankers)", _LABELS)
    route("/rerank", RerankRequest, tasks.rerank, "Texts by how well they answer a query (rerankers)", _RANKS)

    @router.post("/", include_in_schema=False)
    @router.post("/invocations", include_in_schema=False)
    async def root(request: Request) -> Response:
        kind = service.model().spec.kind
        if kind == "reranker":
            return await _answered(request, tasks.rerank(await read(request, RerankRequest)))
        if kind == "classifier":
            return await _answered(request, tasks.predict(await read(request, PredictRequest)))
        if task == "sentence-similarity":
            return await _answered(request, tasks.similarity(await read(request, SimilarityRequest)))
        if kind == "splade":
            return await _answered(request, tasks.embed_sparse(await read(request, InputsRequest)))
        return await _answered(request, tasks.embed(await read(request, EmbedRequest)))

    @router.post("/decode", summary="Texts of token ids", openapi_extra=documented(DecodeRequest, array(TEXT)))
    async def decode(request: Request) -> Response:
        body = await read(request, DecodeRequest)
        return json_response(await service.decode(body.ids, body.skip_special_tokens))

    @router.post(
        "/vertex",
        summary="Several bodies of the other routes",
        openapi_extra=documented(VertexRequest, record(predictions=array({}))),
    )
    async def vertex(request: Request) -> Response:
        body = await read(request, VertexRequest)
        if body.instances:
            service.encoder.check_count(len(body.instances), "instances")
        # All are read before the first begins: one that is wrong refuses them all.
        works = [_instance(tasks, service.model().spec.kind, instance) for instance in body.instances]
        answers = await while_connected(request, _together(works))
        return json_response({"predictions": [answer.value for answer in answers]})

    return router


async def _answered(request: Request, work: Coroutine[Any, Any, Answer]) -> Response:
    answer = await while_connected(request, work)
    return json_response(answer.value, compute_headers(answer))


async def _together(works: list[Work]) -> list[Answer]:
    """All answers, or the first failure after all have ended, so that none runs on for nobody."""
    done = await asyncio.gather(*(work() for work in works), return_exceptions=True)
    for answer in done:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in done if isinstance(answer, Answer)]


def _instance(tasks: Tasks, kind: Kind, instance: Any) -> Work:
    """The work that an instance of /vertex asks for: a reranking where it reads as one, else what the model is for."""
    try:
        return partial(tasks.rerank, RerankRequest.model_validate(instance))
    except ValidationError:
        pass
    if kind in {"classifier", "reranker"}:
        return partial(tasks.predict, validated(instance, PredictRequest))
    if kind == "splade":
        return partial(tasks.embed_sparse, validated(instance, InputsRequest))
    return partial(tasks.embed, validated(instance, EmbedRequest))
