"""What may happen to a text: it is checked, tokenised, embedded, shortened, normalised. Knows no HTTP."""

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from embedding_service.backends.base import Batch, TokenIds, Vectors
from embedding_service.backends.load import LoadedModel
from embedding_service.backends.tokenizer import Direction, Token
from embedding_service.core.model import FULL_PRECISION, identity
from embedding_service.core.settings import EmbeddingSettings
from embedding_service.features.embedding.host import Load, ModelHost
from embedding_service.features.embedding.metrics import TeiMetrics
from embedding_service.features.embedding.scheduler import Scheduler
from embedding_service.features.embedding.schemas import Input
from service_kit.errors import NothingToDo, Overloaded, ValidationFailed
from service_kit.health import Check

# Two, so that a query is tokenised beside a bulk request; the library itself uses all cores for a batch.
_TOKENIZER_THREADS = 2


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
        self._metrics = metrics
        self._host = ModelHost(settings.embedding_model, load)
        self._tokenizing = ThreadPoolExecutor(_TOKENIZER_THREADS, thread_name_prefix="tokenize")
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
        self._tokenizing.shutdown()

    def check(self) -> Check:
        """Is the model there?"""
        return self._host.check()

    def require_ready(self) -> None:
        """Fails with Unavailable while there is no model."""
        self._host.model()

    async def embed(self, items: Sequence[Input], options: EmbedOptions = EmbedOptions()) -> Embedded:
        """Vectors of texts and token ids.

        Fails with Unavailable (no model), NothingToDo, ValidationFailed, Overloaded or BackendFailed.
        """
        started = time.perf_counter()
        model = self._host.model()
        self._check_count(items)
        _check_dimensions(options.dimensions, model.backend.dim)
        prompt = _prompt(model, options.prompt_name)
        if options.prompt_name is not None and not all(isinstance(item, str) for item in items):
            raise ValidationFailed("`prompt_name` cannot be used with token ids: put the prompt's ids before them")
        self._admit(len(items))
        try:
            self._metrics.embeds.inc(len(items))
            ids = await self._encode(model, items, prompt, options)
            encoded_s = time.perf_counter()
            inferred = await self._scheduler_for(model).run(ids)
        finally:
            self._in_work -= len(items)
        self._metrics.embedded.inc(len(items))
        tokens, characters = sum(map(len, ids)), sum(map(len, items))
        vectors = _finish(inferred.vectors, options)
        spent = (encoded_s - started, inferred.waited_s, inferred.inference_s, time.perf_counter() - started)
        embedded = Embedded(vectors, tokens, characters, *spent)
        self._observe(embedded)
        return embedded

    async def tokenize(
        self, texts: Sequence[str], add_special_tokens: bool = True, prompt_name: str | None = None
    ) -> list[list[Token]]:
        """The tokens of each text, whole. Fails as embed() does, and where a text is over the character limit."""
        model = self._host.model()
        self._check_count(texts)
        prompt = _prompt(model, prompt_name)
        prompted = [prompt + text for text in texts]
        _check_chars(prompted, model.tokenizer.max_chars)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._tokenizing, model.tokenizer.tokens, prompted, add_special_tokens)

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
            "model_type": {"embedding": {"pooling": model.spec.pooling}},
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

    def _check_count(self, items: Sequence[Input]) -> None:
        if not items:
            raise NothingToDo("`inputs` cannot be empty")
        limit = self._settings.max_client_batch_size
        if len(items) > limit:
            raise ValidationFailed(
                f"batch size {len(items)} > maximum allowed batch size {limit}; send less at once, "
                "or raise MAX_CLIENT_BATCH_SIZE"
            )
        for index, item in enumerate(items):
            if not item:
                raise NothingToDo(f"`inputs` cannot be empty: item {index} of {len(items)} is")

    def _admit(self, count: int) -> None:
        limit = self._settings.max_concurrent_requests
        if self._in_work + count > limit:
            raise Overloaded(
                f"model is overloaded: {self._in_work} texts are in work and the limit is {limit}; wait, "
                "or raise MAX_CONCURRENT_REQUESTS",
                retry_after_s=1,
            )
        self._in_work += count

    async def _encode(
        self, model: LoadedModel, items: Sequence[Input], prompt: str, options: EmbedOptions
    ) -> list[TokenIds]:
        truncate = self._settings.auto_truncate if options.truncate is None else options.truncate
        direction = options.direction if truncate else None
        texts = [prompt + item for item in items if isinstance(item, str)]
        if direction is None:
            _check_chars(texts, model.tokenizer.max_chars)
        loop = asyncio.get_running_loop()
        encoded = iter(await loop.run_in_executor(self._tokenizing, model.tokenizer.encode, texts, direction))
        ids = [next(encoded) if isinstance(item, str) else _own_ids(model, item, direction) for item in items]
        for index, sequence in enumerate(ids):
            if len(sequence) > model.spec.max_tokens:
                raise ValidationFailed(
                    f"`inputs` must have at most {model.spec.max_tokens} tokens. Given: {len(sequence)} in item "
                    f"{index}; shorten it or set truncate"
                )
            self._metrics.input_tokens.observe(len(sequence))
        return ids

    def _scheduler_for(self, model: LoadedModel) -> Scheduler:
        if self._scheduler is None:
            self._scheduler = Scheduler(
                lambda ids: model.backend.run("embed", Batch(ids)), self._settings.max_batch_tokens, self._metrics
            )
        return self._scheduler

    def _observe(self, embedded: Embedded) -> None:
        self._metrics.request_s.observe(embedded.total_s)
        self._metrics.tokenization_s.observe(embedded.tokenization_s)
        self._metrics.queue_s.observe(embedded.queue_s)
        self._metrics.inference_s.observe(embedded.inference_s)


def _check_dimensions(wanted: int | None, dim: int) -> None:
    if wanted is not None and wanted > dim:
        raise ValidationFailed(f"`dimensions` is {wanted}; the model has {dim}")


def _check_chars(texts: Iterable[str], limit: int) -> None:
    longest = max(map(len, texts), default=0)
    if longest > limit:
        raise ValidationFailed(f"`inputs` must have at most {limit} characters. Given: {longest}")


def _prompt(model: LoadedModel, name: str | None) -> str:
    if name is None:
        return model.spec.default_prompt or ""
    if name not in model.spec.prompts:
        known = ", ".join(sorted(model.spec.prompts)) or "none"
        raise ValidationFailed(f"`prompt_name` {name[:80]!r} is not a prompt of the model; it has: {known}")
    return model.spec.prompts[name]


def _own_ids(model: LoadedModel, ids: list[int], direction: Direction | None) -> TokenIds:
    """Ids that the caller made, special tokens and all: checked, and cut where that is wanted."""
    highest = max(ids)
    if highest >= model.spec.vocab_size:
        raise ValidationFailed(f"token id {highest} is not in the model's vocabulary of {model.spec.vocab_size}")
    if direction is None:
        return ids
    limit = model.spec.max_tokens
    return ids[:limit] if direction == "right" else ids[-limit:]


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
