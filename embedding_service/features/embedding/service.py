"""What may happen to a text: it is checked, tokenised, embedded, shortened, normalised. Knows no HTTP."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from embedding_service.backends.base import Batch, Task, TokenIds, Vectors
from embedding_service.backends.tokenizer import Direction, Token
from embedding_service.core.settings import EmbeddingSettings
from embedding_service.features.embedding.cache import VectorCache
from embedding_service.features.embedding.host import EngineHost, MakeEngine, Model
from embedding_service.features.embedding.metrics import TeiMetrics
from embedding_service.features.embedding.scheduler import Inferred, Scheduler
from embedding_service.features.embedding.schemas import Input
from service_kit.errors import NothingToDo, Overloaded, ValidationFailed
from service_kit.health import Check

# Two, so that a query is tokenised beside a bulk request; the library itself uses all cores for a batch.
_TOKENIZER_THREADS = 2

# A question is tokenised on the event loop: that takes 20 us, going to a thread and back 90.
_INLINE_CHARS = 300


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
        self._metrics = metrics
        self._scheduler = Scheduler(settings.max_batch_tokens, metrics)
        self._host = EngineHost(settings.embedding_model, make_engine, self._scheduler, metrics)
        self._cache = VectorCache(settings.embedding_cache_bytes, registry)
        self._tokenizing = ThreadPoolExecutor(_TOKENIZER_THREADS, thread_name_prefix="tokenize")
        self._keeping: asyncio.Task[None] | None = None
        self._in_work = 0

    async def start(self) -> None:
        """Begin to load the model; returns at once."""
        self._keeping = asyncio.create_task(self._host.keep(), name="keep an engine")

    async def stop(self) -> None:
        """End the engine and all threads."""
        await self._scheduler.stop()
        await self._host.stop()
        if self._keeping is not None:
            await self._keeping
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
        self._cache.belong_to(model.identity)
        self._check_count(items)
        _check_dimensions(options.dimensions, model.ready.dim)
        prompt = _prompt(model, options.prompt_name)
        if options.prompt_name is not None and not all(isinstance(item, str) for item in items):
            raise ValidationFailed("`prompt_name` cannot be used with token ids: put the prompt's ids before them")
        with self.admitted(len(items)):
            self._metrics.embeds.inc(len(items))
            ids = await self._encode(model, items, prompt, options)
            encoded_s = time.perf_counter()
            rows, waited_s, inference_s = await self._embed_new(ids)
        self._metrics.embedded.inc(len(items))
        tokens, characters = sum(map(len, ids)), sum(map(len, items))
        vectors = _finish(np.stack(rows), options)
        spent = (encoded_s - started, waited_s, inference_s, time.perf_counter() - started)
        embedded = Embedded(vectors, tokens, characters, *spent)
        self._observe(embedded)
        return embedded

    async def run(self, task: Task, batch: Batch) -> Inferred:
        """Do a task of the model's for token ids, past the cache. Fails with Unavailable or BackendFailed."""
        self._host.model()
        return await self._scheduler.run(task, batch)

    @contextmanager
    def admitted(self, count: int) -> Iterator[None]:
        """Places for so many texts, as long as they are in work. Fails with Overloaded."""
        limit = self._settings.max_concurrent_requests
        if self._in_work + count > limit:
            raise Overloaded(
                f"model is overloaded: {self._in_work} texts are in work and the limit is {limit}; wait, "
                "or raise MAX_CONCURRENT_REQUESTS",
                retry_after_s=1,
            )
        self._in_work += count
        try:
            yield
        finally:
            self._in_work -= count

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
        spec = model.ready.spec
        return {
            "model_id": spec.name,
            "model_sha": spec.revision,
            "model_dtype": model.ready.dtype,
            "served_model_name": spec.name,
            "model_type": {"embedding": {"pooling": spec.pooling}},
            "max_concurrent_requests": self._settings.max_concurrent_requests,
            "max_input_length": spec.max_tokens,
            "max_batch_tokens": self._settings.max_batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": self._settings.max_client_batch_size,
            "auto_truncate": self._settings.auto_truncate,
            "tokenization_workers": _TOKENIZER_THREADS,
            "version": _version(),
            "sha": None,
            "docker_label": None,
            "dim": model.ready.dim,
            "identity": model.identity,
            **model.ready.details,
        }

    async def _embed_new(self, ids: list[TokenIds]) -> tuple[list[Vectors], float, float]:
        """A row for each sequence; what the cache has, and what stands here twice, is not computed."""
        keys = [self._cache.key(sequence) for sequence in ids]
        rows = {key: row for key in dict.fromkeys(keys) if (row := self._cache.get(key)) is not None}
        wanted = {key: sequence for key, sequence in zip(keys, ids, strict=True) if key not in rows}
        waited_s = inference_s = 0.0
        if wanted:
            inferred = await self._scheduler.run("embed", Batch(list(wanted.values())))
            waited_s, inference_s = inferred.waited_s, inferred.inference_s
            for key, row in zip(wanted, inferred.rows, strict=True):
                rows[key] = row
                self._cache.put(key, row)
        return [rows[key] for key in keys], waited_s, inference_s

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

    async def _encode(self, model: Model, items: Sequence[Input], prompt: str, options: EmbedOptions) -> list[TokenIds]:
        truncate = self._settings.auto_truncate if options.truncate is None else options.truncate
        direction = options.direction if truncate else None
        texts = [prompt + item for item in items if isinstance(item, str)]
        if direction is None:
            _check_chars(texts, model.tokenizer.max_chars)
        encoded = iter(await self._tokenized(model, texts, direction))
        ids = [next(encoded) if isinstance(item, str) else _own_ids(model, item, direction) for item in items]
        for index, sequence in enumerate(ids):
            if len(sequence) > model.ready.spec.max_tokens:
                raise ValidationFailed(
                    f"`inputs` must have at most {model.ready.spec.max_tokens} tokens. Given: {len(sequence)} in item "
                    f"{index}; shorten it or set truncate"
                )
            self._metrics.input_tokens.observe(len(sequence))
        return ids

    async def _tokenized(self, model: Model, texts: list[str], direction: Direction | None) -> list[TokenIds]:
        if sum(map(len, texts)) <= _INLINE_CHARS:
            return model.tokenizer.encode(texts, direction)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._tokenizing, model.tokenizer.encode, texts, direction)

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


def _prompt(model: Model, name: str | None) -> str:
    if name is None:
        return model.ready.spec.default_prompt or ""
    if name not in model.ready.spec.prompts:
        known = ", ".join(sorted(model.ready.spec.prompts)) or "none"
        raise ValidationFailed(f"`prompt_name` {name[:80]!r} is not a prompt of the model; it has: {known}")
    return model.ready.spec.prompts[name]


def _own_ids(model: Model, ids: list[int], direction: Direction | None) -> TokenIds:
    """Ids that the caller made, special tokens and all: checked, and cut where that is wanted."""
    highest = max(ids)
    if highest >= model.ready.spec.vocab_size:
        raise ValidationFailed(f"token id {highest} is not in the model's vocabulary of {model.ready.spec.vocab_size}")
    if direction is None:
        return ids
    limit = model.ready.spec.max_tokens
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
