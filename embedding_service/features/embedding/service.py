"""What may happen to a text: it is checked, tokenised, embedded, shortened, normalised. Knows no HTTP."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from embedding_service.backends.base import MAIN_TASK, Batch, Task, TokenIds, Vectors
from embedding_service.backends.tokenizer import Direction
from embedding_service.core.model import ModelSpec
from embedding_service.core.settings import EmbeddingSettings
from embedding_service.features.embedding.cache import VectorCache
from embedding_service.features.embedding.encoding import TOKENIZER_THREADS, Encoder, Truncation
from embedding_service.features.embedding.failures import WrongModel
from embedding_service.features.embedding.host import EngineHost, MakeEngine, Model
from embedding_service.features.embedding.metrics import TeiMetrics
from embedding_service.features.embedding.scheduler import Inferred, Scheduler
from embedding_service.features.embedding.schemas import Input
from service_kit.errors import Overloaded, Unavailable, ValidationFailed
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

    def __init__(
        self, settings: EmbeddingSettings, make_engine: MakeEngine, metrics: TeiMetrics, registry: CollectorRegistry
    ):
        """make_engine: gives an engine that is not yet started; called again where one has ended."""
        self._settings = settings
        self.metrics = metrics
        self.encoder = Encoder(settings, metrics)
        self._scheduler = Scheduler(settings.max_batch_tokens, metrics)
        self._host = EngineHost(settings.embedding_model, make_engine, self._scheduler, metrics)
        self._cache = VectorCache(settings.embedding_cache_bytes, registry)
        self._keeping: asyncio.Task[None] | None = None
        self._in_work = 0
        metrics.in_work.set_function(lambda: self._in_work)
        metrics.in_work_limit.set(settings.max_concurrent_requests)

    async def start(self) -> None:
        """Begin to load the model; returns at once."""
        self._keeping = asyncio.create_task(self._host.keep(), name="keep an engine")

    async def stop(self) -> None:
        """End the engine and all threads."""
        await self._scheduler.stop()
        await self._host.stop()
        if self._keeping is not None:
            await self._keeping
        self.encoder.stop()

    def check(self) -> Check:
        """Is the model there?"""
        return self._host.check()

    def require_ready(self) -> None:
        """Fails with Unavailable while there is no model."""
        self._host.model()

    def model(self) -> Model:
        """The model. Fails with Unavailable while there is none."""
        return self._host.model()

    @property
    def tasks(self) -> frozenset[Task]:
        """What run() can be asked for. Fails with Unavailable."""
        return self._host.model().ready.tasks

    async def run(self, task: Task, batch: Batch) -> Inferred:
        """Do a task of the model's for token ids, past the cache. Fails with Unavailable or BackendFailed."""
        self._host.model()
        return await self._scheduler.run(task, batch)

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
        self._cache.belong_to(model.identity)
        self.encoder.check_count(len(items))
        task = _task(model, options)
        _check_dimensions(options.dimensions, model.ready.dim)
        with self.admit(len(items)):
            self.metrics.embed.count.inc(len(items))
            truncation = Truncation(options.truncate, options.direction)
            ids = await self.encoder.inputs(model, items, truncation, options.prompt_name)
            encoded_s = time.perf_counter()
            inferred = await self._run_new(task, ids)
        self.metrics.embed.success.inc(len(items))
        tokens, characters = sum(map(len, ids)), sum(map(len, items))
        vectors = _finish(np.stack(inferred.rows), options)
        spent = (encoded_s - started, inferred.waited_s, inferred.inference_s, time.perf_counter() - started)
        embedded = Embedded(vectors, tokens, characters, *spent)
        self.metrics.observe(embedded, self.metrics.embed)
        return embedded

    async def tokenize(
        self, texts: Sequence[str], add_special_tokens: bool = True, prompt_name: str | None = None
    ) -> bytes:
        """The tokens of each text, whole, as JSON. Fails as embed() does, and for a text over the character limit."""
        return await self.encoder.tokenize(self._host.model(), texts, add_special_tokens, prompt_name)

    async def decode(self, ids: Sequence[Sequence[int]], skip_special_tokens: bool = True) -> list[str]:
        """The text of each list of token ids. Fails as tokenize() does."""
        return await self.encoder.decode(self._host.model(), ids, skip_special_tokens)

    def info(self) -> dict[str, Any]:
        """What TEI's /info tells, and `dim` and `identity`. Fails with Unavailable."""
        model = self._host.model()
        return {
            "model_id": model.spec.name,
            "model_sha": model.spec.revision,
            "model_dtype": model.ready.dtype,
            "served_model_name": model.spec.name,
            "model_type": _model_type(model.spec),
            "max_concurrent_requests": self._settings.max_concurrent_requests,
            "max_input_length": model.spec.max_tokens,
            "max_batch_tokens": self._settings.max_batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": self._settings.max_client_batch_size,
            "auto_truncate": self._settings.auto_truncate,
            "tokenization_workers": TOKENIZER_THREADS,
            "version": _version(),
            "sha": None,
            "docker_label": None,
            "dim": model.ready.dim,
            "identity": model.identity,
            **model.ready.details,
        }

    async def _run_new(self, task: Task, ids: list[TokenIds]) -> Inferred:
        """As run(), but what the cache has, and what stands here twice, is not computed."""
        keys = [self._cache.key(sequence) for sequence in ids]
        rows = {key: row for key in dict.fromkeys(keys) if (row := self._cache.get(key)) is not None}
        wanted = {key: sequence for key, sequence in zip(keys, ids, strict=True) if key not in rows}
        inferred = Inferred([], 0.0, 0.0)
        if wanted:
            identity = self._host.model().identity
            inferred = await self.run(task, Batch(list(wanted.values())))
            if self._host.model().identity != identity:  # its folder has changed, and a worker has ended since
                raise Unavailable("the model was replaced in the middle of this request; try again", retry_after_s=1)
            for key, row in zip(wanted, inferred.rows, strict=True):
                rows[key] = row
                self._cache.put(key, row)
        return Inferred([rows[key] for key in keys], inferred.waited_s, inferred.inference_s)


def _task(model: Model, options: EmbedOptions) -> Task:
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
