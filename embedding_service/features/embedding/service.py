"""What may happen to a text: it is checked, tokenised, embedded, shortened, normalised. Knows no HTTP."""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from embedding_service.backends.base import MAIN_TASK, Batch, Task, Vectors
from embedding_service.backends.load import LoadedModel
from embedding_service.backends.tokenizer import Direction, Token
from embedding_service.core.model import FULL_PRECISION, ModelSpec, identity
from embedding_service.core.settings import EmbeddingSettings
from embedding_service.features.embedding.encoding import Encoder, Truncation
from embedding_service.features.embedding.failures import WrongModel
from embedding_service.features.embedding.host import Load, ModelHost
from embedding_service.features.embedding.metrics import TeiMetrics
from embedding_service.features.embedding.scheduler import Inferred, Scheduler
from embedding_service.features.embedding.schemas import Input
from service_kit.errors import Overloaded, ValidationFailed
from service_kit.health import Check


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How to embed. truncate: None is the service's default. dimensions: keep the first so many components."""

    truncate: bool | None = None
    direction: Direction = "right"
    prompt_name: str | None = None
    normalize: bool = True
    dimensions: int | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """vectors: (n, dim) float32, in the order of the inputs. Durations in seconds."""

    vectors: Vectors
    tokens: int
    characters: int
    tokenization_s: float
    queue_s: float
    inference_s: float
    total_s: float = 0.0


class EmbeddingService:
    """The service's one feature. Constructing it loads nothing; start() does."""

    def __init__(self, settings: EmbeddingSettings, load: Load, metrics: TeiMetrics):
        """load: gives the model, blocking; called in a thread, again where it failed."""
        self._settings = settings
        self.metrics = metrics
        self.encoder = Encoder(settings, metrics)
        self._host = ModelHost(settings.embedding_model, load)
        self._scheduler: Scheduler | None = None
        self._loading: asyncio.Task[None] | None = None
        self._in_work = 0
        self._identity: str | None = None

    async def start(self) -> None:
        """Begin to load the model; returns at once."""
        self._loading = asyncio.create_task(self._host.load(), name="load model")

    async def stop(self) -> None:
        """Wait for a load that runs, then end all threads."""
        self._host.stop()
        if self._loading is not None:
            await self._loading
        if self._scheduler is not None:
            await self._scheduler.stop()
        self.encoder.stop()

    def check(self) -> Check:
        """Is the model there?"""
        return self._host.check()

    def require_ready(self) -> None:
        """Fails with Unavailable while there is no model."""
        self._host.model()

    def model(self) -> LoadedModel:
        """The model. Fails with Unavailable while there is none."""
        return self._host.model()

    @property
    def tasks(self) -> frozenset[Task]:
        """What run() can be asked for. Fails with Unavailable."""
        return self._host.model().backend.tasks

    async def run(self, task: Task, batch: Batch) -> Inferred:
        """Rows as Backend.run gives them, after their turn in the queue. Fails with Unavailable or BackendFailed."""
        return await self._scheduler_for(self._host.model()).run(task, batch)

    @contextmanager
    def admit(self, count: int) -> Iterator[None]:
        """Hold a permit for each of `count` texts. Fails with Overloaded."""
        limit = self._settings.max_concurrent_requests
        if self._in_work + count > limit:
            raise Overloaded(
                f"Model is overloaded: {self._in_work} texts are in work and the limit is {limit}; wait, "
                "or raise MAX_CONCURRENT_REQUESTS",
                retry_after_s=1,
            )
        self._in_work += count
        try:
            yield
        finally:
            self._in_work -= count

    async def embed(self, items: Sequence[Input], options: EmbedOptions = EmbedOptions()) -> Embedded:
        """Vectors of texts and token ids.

        Fails with Unavailable (no model), NothingToDo, ValidationFailed, Overloaded or BackendFailed.
        """
        started = time.perf_counter()
        model = self._host.model()
        self.encoder.check_count(len(items))
        task = _task(model, options)
        _check_dimensions(options.dimensions, model.backend.dim)
        with self.admit(len(items)):
            self.metrics.embed.count.inc(len(items))
            truncation = Truncation(options.truncate, options.direction)
            ids = await self.encoder.inputs(model, items, truncation, options.prompt_name)
            encoded_s = time.perf_counter()
            inferred = await self.run(task, Batch(ids))
        self.metrics.embed.success.inc(len(items))
        tokens, characters = sum(map(len, ids)), sum(map(len, items))
        vectors = _finish(inferred.rows, options)
        spent = (encoded_s - started, inferred.waited_s, inferred.inference_s, time.perf_counter() - started)
        embedded = Embedded(vectors, tokens, characters, *spent)
        self.metrics.observe(embedded, self.metrics.embed)
        return embedded

    async def tokenize(
        self, texts: Sequence[str], add_special_tokens: bool = True, prompt_name: str | None = None
    ) -> list[list[Token]]:
        """The tokens of each text, whole. Fails as embed() does, and where a text is over the character limit."""
        return await self.encoder.tokenize(self._host.model(), texts, add_special_tokens, prompt_name)

    async def decode(self, ids: Sequence[Sequence[int]], skip_special_tokens: bool = True) -> list[str]:
        """The text of each list of token ids. Fails as tokenize() does."""
        return await self.encoder.decode(self._host.model(), ids, skip_special_tokens)

    def info(self) -> dict[str, Any]:
        """What TEI's /info tells, and `dim` and `identity`. Fails with Unavailable."""
        model = self._host.model()
        if self._identity is None:
            self._identity = identity(model.spec, model.backend.dim)
        return {
            "model_id": model.spec.name,
            "model_sha": model.spec.revision,
            "model_dtype": FULL_PRECISION,
            "served_model_name": model.spec.name,
            "model_type": _model_type(model.spec),
            "max_concurrent_requests": self._settings.max_concurrent_requests,
            "max_input_length": model.spec.max_tokens,
            "max_batch_tokens": self._settings.max_batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": self._settings.max_client_batch_size,
            "auto_truncate": self._settings.auto_truncate,
            "tokenization_workers": os.cpu_count(),
            "version": _version(),
            "sha": None,
            "docker_label": None,
            "dim": model.backend.dim,
            "identity": self._identity,
        }

    def _scheduler_for(self, model: LoadedModel) -> Scheduler:
        if self._scheduler is None:
            self._scheduler = Scheduler(model.backend.run, self._settings.max_batch_tokens, self.metrics)
        return self._scheduler


def _task(model: LoadedModel, options: EmbedOptions) -> Task:
    if model.spec.id2label:
        raise WrongModel("Model is not an embedding model")
    if model.spec.kind == "splade" and options.normalize:
        raise WrongModel("`normalize` is not available for SPLADE models")
    return MAIN_TASK[model.spec.kind]


def _model_type(spec: ModelSpec) -> dict[str, Any]:
    if spec.id2label:
        return {spec.kind: {"id2label": dict(spec.id2label), "label2id": dict(spec.label2id)}}
    return {"embedding": {"pooling": spec.pooling}}


def _check_dimensions(wanted: int | None, dim: int) -> None:
    if wanted is not None and wanted > dim:
        raise ValidationFailed(f"`dimensions` is {wanted}; the model has {dim}")


def _finish(vectors: Vectors, options: EmbedOptions) -> Vectors:
    """First the dimensions, then the length, as TEI: a shortened vector has length 1 too."""
    if options.dimensions is not None:
        vectors = np.ascontiguousarray(vectors[:, : options.dimensions])
    if options.normalize:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.maximum(lengths, 1e-12)  # torch's floor: an all-zero vector stays zero
    return vectors


def _version() -> str:
    try:
        return version("code-assistant")
    except PackageNotFoundError:
        return "unknown"
