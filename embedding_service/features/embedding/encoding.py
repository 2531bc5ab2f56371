"""From what a request holds to token ids: counted, prompted, tokenised off the event loop, held to the window."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import orjson

from embedding_service.backends.base import Batch, TokenIds
from embedding_service.backends.tokenizer import Direction
from embedding_service.core.settings import EmbeddingSettings
from embedding_service.features.embedding.failures import EmptyInput, InputRefused, TokenizerFailed, TooManyInputs
from embedding_service.features.embedding.host import Model
from embedding_service.features.embedding.metrics import TeiMetrics
from embedding_service.features.embedding.schemas import Input
from service_kit.errors import NothingToDo, ValidationFailed

# Two, so that a query is tokenised beside a bulk request; the library itself uses all cores for a batch.
TOKENIZER_THREADS = 2

# A question is tokenised on the event loop: that takes 16 us, and 50 by way of a thread.
_INLINE_CHARS = 300

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Truncation:
    """truncate: None is the service's default. direction: the side that gives way."""

    truncate: bool | None = None
    direction: Direction = "right"


class Encoder:
    """Tokenises for all routes. A model comes with each call: the encoder outlives a model that is loaded late."""

    def __init__(self, settings: EmbeddingSettings, metrics: TeiMetrics):
        """Starts no thread before it is needed."""
        self._settings = settings
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(TOKENIZER_THREADS, thread_name_prefix="tokenize")

    def stop(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def check_count(self, count: int, field: str = "inputs") -> None:
        """Fails with NothingToDo for none, and with TooManyInputs for more than MAX_CLIENT_BATCH_SIZE."""
        if not count:
            raise NothingToDo(f"`{field}` cannot be empty")
        limit = self._settings.max_client_batch_size
        if count > limit:
            raise TooManyInputs(
                f"batch size {count} > maximum allowed batch size {limit}; send less at once, "
                "or raise MAX_CLIENT_BATCH_SIZE"
            )

    async def inputs(
        self, model: Model, items: Sequence[Input], truncation: Truncation, prompt_name: str | None
    ) -> list[TokenIds]:
        """Ids of texts and of token ids, which are their own unless a prompt comes before them (as TEI: decoded then).

        Fails with EmptyInput, InputRefused, ValidationFailed or TokenizerFailed.
        """
        _check_empty(items)
        prompt = _prompt(model, prompt_name)
        direction = self._direction(truncation)
        own = [] if prompt else [_own_ids(model, item, direction) for item in items if not isinstance(item, str)]
        texts = [prompt + item for item in items if isinstance(item, str)]
        if prompt:
            texts = [prompt + text for text in await self._as_texts(model, items)]
        if direction is None:
            _check_chars(map(len, texts), model.tokenizer.max_chars)
        encoded = iter(await self._encoded(model, texts, direction))
        mine = iter(own)
        ids = [next(encoded) if prompt or isinstance(item, str) else next(mine) for item in items]
        self._check_window(model, ids)
        return ids

    async def pairs(self, model: Model, texts: Sequence[Sequence[str]], truncation: Truncation) -> Batch:
        """Ids of texts and pairs. Fails as inputs() does; of a pair one part may be empty, as in TEI."""
        _check_empty(["".join(pair) for pair in texts])
        prompt = _prompt(model, None)
        if prompt and any(len(pair) > 1 for pair in texts):
            raise InputRefused(
                "a default prompt cannot be used with pairs; unset DEFAULT_PROMPT and DEFAULT_PROMPT_NAME"
            )
        direction = self._direction(truncation)
        if direction is None:
            _check_chars((sum(map(len, pair)) for pair in texts), model.tokenizer.max_chars)
        prompted = [(prompt + pair[0], *pair[1:]) for pair in texts]
        batch = await self._off_loop(model.tokenizer.encode_pairs, prompted, direction)
        self._check_window(model, batch.ids)
        return batch

    async def tokenize(
        self, model: Model, texts: Sequence[str], add_special_tokens: bool, prompt_name: str | None
    ) -> bytes:
        """The tokens of each text, whole, as the JSON of a list of lists. Fails as inputs() does, or for too many.

        JSON, since 2 MB of text have 600,000 tokens: 50 MB so, and 780 MB as objects.
        """
        self.check_count(len(texts))
        _check_empty(texts)
        prompt = _prompt(model, prompt_name)
        prompted = [prompt + text for text in texts]
        _check_chars(map(len, prompted), model.tokenizer.max_chars)
        return await self._off_loop(_tokens_json, model, prompted, add_special_tokens)

    async def decode(self, model: Model, ids: Sequence[TokenIds], skip_special_tokens: bool) -> list[str]:
        """The text of each list of ids. Fails with NothingToDo, EmptyInput, TooManyInputs or TokenizerFailed."""
        self.check_count(len(ids), "ids")
        _check_empty(ids, "input_ids")
        return await self._off_loop(model.tokenizer.decode, ids, skip_special_tokens)

    async def _as_texts(self, model: Model, items: Sequence[Input]) -> list[str]:
        ids = [item for item in items if not isinstance(item, str)]
        if not ids:
            return [item for item in items if isinstance(item, str)]
        decoded = iter(await self._off_loop(model.tokenizer.decode, ids, True))
        return [item if isinstance(item, str) else next(decoded) for item in items]

    async def _encoded(self, model: Model, texts: Sequence[str], direction: Direction | None) -> list[TokenIds]:
        if sum(map(len, texts)) > _INLINE_CHARS:
            return await self._off_loop(model.tokenizer.encode, texts, direction)
        try:
            return model.tokenizer.encode(texts, direction)
        except Exception as exc:  # as in _off_loop
            raise TokenizerFailed(f"tokenizer error {str(exc)[:200]}") from exc

    async def _off_loop(self, work: Callable[..., _Result], *args: object) -> _Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        except Exception as exc:  # the library raises bare Exception
            raise TokenizerFailed(f"tokenizer error {str(exc)[:200]}") from exc

    def _direction(self, truncation: Truncation) -> Direction | None:
        truncate = self._settings.auto_truncate if truncation.truncate is None else truncation.truncate
        return truncation.direction if truncate else None

    def _check_window(self, model: Model, ids: Sequence[TokenIds]) -> None:
        for index, sequence in enumerate(ids):
            if len(sequence) > model.spec.max_tokens:
                raise InputRefused(
                    f"`inputs` must have at most {model.spec.max_tokens} tokens. Given: {len(sequence)} in item "
                    f"{index}; shorten it or set truncate"
                )
            self._metrics.input_tokens.observe(len(sequence))


def _tokens_json(model: Model, texts: Sequence[str], add_special_tokens: bool) -> bytes:
    return b"[" + b",".join(map(orjson.dumps, model.tokenizer.tokens(texts, add_special_tokens))) + b"]"


def _check_empty(items: Sequence[Sequence[object]], field: str = "inputs") -> None:
    for index, item in enumerate(items):
        if not item:
            raise EmptyInput(f"`{field}` cannot be empty: item {index} of {len(items)} is")


def _check_chars(lengths: Iterable[int], limit: int) -> None:
    longest = max(lengths, default=0)
    if longest > limit:
        raise InputRefused(f"`inputs` must have at most {limit} characters. Given: {longest}")


def _prompt(model: Model, name: str | None) -> str:
    if name is None:
        return model.spec.default_prompt or ""
    if name not in model.spec.prompts:
        known = ", ".join(sorted(model.spec.prompts)) or "none"
        raise InputRefused(f"`prompt_name` {name[:80]!r} is not a prompt of the model; it has: {known}")
    return model.spec.prompts[name]


def _own_ids(model: Model, ids: list[int], direction: Direction | None) -> TokenIds:
    """Ids that the caller made, special tokens and all: checked, and cut where that is wanted."""
    highest = max(ids)
    if highest >= model.spec.vocab_size:
        raise ValidationFailed(f"token id {highest} is not in the model's vocabulary of {model.spec.vocab_size}")
    if direction is None:
        return ids
    limit = model.spec.max_tokens
    return ids[:limit] if direction == "right" else ids[-limit:]
