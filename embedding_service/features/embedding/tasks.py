"""What a model may be asked for beside a vector a text: token vectors, sparse weights, similarities, labels, ranks.

Each refuses what the model is not for in TEI's words. Knows no HTTP.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from embedding_service.backends.base import Batch, Task, Vectors
from embedding_service.features.embedding.encoding import Truncation
from embedding_service.features.embedding.failures import WrongModel
from embedding_service.features.embedding.host import Model
from embedding_service.features.embedding.metrics import TaskMetrics
from embedding_service.features.embedding.schemas import Input
from embedding_service.features.embedding.scores import activated, predictions, ranks, similarities, sparse
from embedding_service.features.embedding.service import EmbeddingService, EmbedOptions
from service_kit.errors import NothingToDo


@dataclass(frozen=True, slots=True)
class Answer:
    """value: JSON-able, numpy arrays included. The rest is what it took; durations in seconds."""

    value: Any
    tokens: int
    characters: int
    tokenization_s: float
    queue_s: float
    inference_s: float
    total_s: float

    def with_value(self, value: Any) -> Self:
        """The same account for another value."""
        return replace(self, value=value)


class TaskService:
    """The tasks of the one model. All of them share the permits, the tokenizer and the queue of EmbeddingService."""

    def __init__(self, service: EmbeddingService):
        """service: owns the model."""
        self._service = service

    async def embed(self, items: Sequence[Input], options: EmbedOptions) -> Answer:
        """A vector an input; see EmbeddingService.embed."""
        found = await self._service.embed(items, options)
        return _answer(found.vectors, found)

    async def embed_all(self, items: Sequence[Input], truncation: Truncation, prompt_name: str | None) -> Answer:
        """For each input the vectors of its tokens, (tokens, dim), before pooling. Fails as EmbeddingService.embed."""
        started = time.perf_counter()
        model = self._service.model()
        self._service.encoder.check_count(len(items))
        if model.spec.kind == "splade":
            raise WrongModel("`embed_all` is not available for SPLADE models")
        _require_embedding(model)
        if "embed_all" not in self._service.tasks:
            raise WrongModel(f"`embed_all` is not available for the {model.ready.backend} backend")
        rows, answer = await self._embedded("embed_all", model, items, truncation, prompt_name, started)
        return _answer(rows, answer)

    async def embed_sparse(self, items: Sequence[Input], truncation: Truncation, prompt_name: str | None) -> Answer:
        """For each input the weights of the vocabulary's tokens. Fails as EmbeddingService.embed."""
        started = time.perf_counter()
        model = self._service.model()
        self._service.encoder.check_count(len(items))
        if model.spec.kind != "splade":
            raise WrongModel("Model is not an embedding model with SPLADE pooling")
        rows, answer = await self._embedded("embed_sparse", model, items, truncation, prompt_name, started)
        return _answer(sparse(np.stack(rows)), answer)

    async def similarity(
        self, source: str, sentences: Sequence[str], truncation: Truncation, prompt_name: str | None
    ) -> Answer:
        """The cosine of each sentence with the source. Fails as EmbeddingService.embed."""
        if not sentences:
            raise NothingToDo("`inputs.sentences` cannot be empty")
        options = EmbedOptions(truncation.truncate, truncation.direction, prompt_name, normalize=False)
        found = await self._service.embed([source, *sentences], options)
        return _answer(similarities(found.vectors), found)

    async def predict(self, texts: Sequence[Sequence[str]], truncation: Truncation, raw_scores: bool) -> Answer:
        """For each text (a sequence of one) or pair (of two) its labels, best first.

        Fails with Unavailable, NothingToDo, ValidationFailed, Overloaded or BackendFailed.
        """
        started = time.perf_counter()
        model = self._service.model()
        self._service.encoder.check_count(len(texts))
        if not model.spec.id2label:
            raise WrongModel("Model is not a classifier model")
        scores, answer = await self._scored(model, texts, truncation, raw_scores, started)
        return _answer(predictions(scores, model.spec.id2label), answer)

    async def rerank(
        self, query: str, texts: Sequence[str], truncation: Truncation, raw_scores: bool, return_text: bool
    ) -> Answer:
        """The texts by how well they answer the query, best first. Fails as predict() does."""
        started = time.perf_counter()
        model = self._service.model()
        if not texts:
            raise NothingToDo("`texts` cannot be empty")
        if model.spec.kind != "reranker":
            raise WrongModel("model is not a re-ranker model")
        self._service.encoder.check_count(len(texts), "texts")
        pairs = [(query, text) for text in texts]
        scores, answer = await self._scored(model, pairs, truncation, raw_scores, started)
        return _answer(ranks(scores[:, 0], texts if return_text else None), answer)

    async def _embedded(
        self,
        task: Task,
        model: Model,
        items: Sequence[Input],
        truncation: Truncation,
        prompt_name: str | None,
        started: float,
    ) -> tuple[list[Vectors], Answer]:
        """For each input its row or rows, and what it took."""
        encoder, metrics = self._service.encoder, self._service.metrics
        with self._service.admit(len(items)):
            metrics.embed.count.inc(len(items))
            ids = await encoder.inputs(model, items, truncation, prompt_name)
            characters = sum(map(len, items))
            return await self._run(task, Batch(ids), characters, started, metrics.embed)

    async def _scored(
        self, model: Model, texts: Sequence[Sequence[str]], truncation: Truncation, raw: bool, started: float
    ) -> tuple[Vectors, Answer]:
        """Scores (n, labels), and what they took."""
        encoder, metrics = self._service.encoder, self._service.metrics
        with self._service.admit(len(texts)):
            metrics.predict.count.inc(len(texts))
            batch = await encoder.pairs(model, texts, truncation)
            characters = sum(len(text) for pair in texts for text in pair)
            rows, answer = await self._run("predict", batch, characters, started, metrics.predict)
        logits = np.stack(rows)
        return (logits if raw else activated(logits)), answer

    async def _run(
        self, task: Task, batch: Batch, characters: int, started: float, metrics: TaskMetrics
    ) -> tuple[list[Vectors], Answer]:
        encoded_s = time.perf_counter()
        inferred = await self._service.run(task, batch)
        metrics.success.inc(len(batch.ids))
        answer = Answer(
            None,
            sum(map(len, batch.ids)),
            characters,
            encoded_s - started,
            inferred.waited_s,
            inferred.inference_s,
            time.perf_counter() - started,
        )
        self._service.metrics.observe(answer, metrics)
        return inferred.rows, answer


def _require_embedding(model: Model) -> None:
    if model.spec.id2label:
        raise WrongModel("Model is not an embedding model")


def _answer(value: Any, spent: Any) -> Answer:
    """The value with what something else took: an Answer or an Embedded."""
    return Answer(
        value,
        spent.tokens,
        spent.characters,
        spent.tokenization_s,
        spent.queue_s,
        spent.inference_s,
        spent.total_s,
    )
