"""The embedding service, or any text-embeddings-inference server, as LlamaIndex and the indexer see it."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import orjson
from llama_index.core.async_utils import asyncio_run
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

from rag_app.core.models import ModelIdentity
from rag_app.core.settings import RagSettings
from service_kit.errors import Overloaded, Upstream
from service_kit.http import OutgoingClient, bearer

# A person waits for a query's vector; past this, the words alone answer (search reports it as degraded).
QUERY_DEADLINE_S = 5.0

# Bulk work keeps this many batches in flight: enough to hide the round trip, few enough to leave queries a place.
BATCHES_IN_FLIGHT = 4

# A full server says 429 and when to come back. Documents wait that long (MAX_WAIT_S at most), this many times.
OVERLOAD_RETRIES = 5
MAX_WAIT_S = 5.0

# TEI's own default, for a server that does not tell its limit.
DEFAULT_CLIENT_BATCH = 32

T = TypeVar("T")


class TeiClient:
    """TEI's routes /info, /embed and /tokenize, in batches that the server takes."""

    def __init__(self, settings: RagSettings):
        """Nothing connects before the first call."""
        self._settings = settings
        self._http = OutgoingClient(
            "the embedding service",
            settings.embedding_url,
            setting="EMBEDDING_URL",
            deadline_s=settings.embedding_timeout_s,
            headers=bearer(settings.embedding_api_key),
        )
        self._info: dict[str, Any] | None = None
        self._slots = asyncio.Semaphore(BATCHES_IN_FLIGHT)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._http.close()

    async def info(self) -> dict[str, Any]:
        """What the server says of itself; asked until it answers once, then kept."""
        return await self.info_now() if self._info is None else self._info

    async def info_now(self) -> dict[str, Any]:
        """The same, asked for in any case."""
        answer = await self._http.call("GET", "/info")
        if not isinstance(answer, dict) or "model_id" not in answer or "max_input_length" not in answer:
            raise Upstream("the embedding service's /info lacks model_id or max_input_length: is it a TEI server?")
        self._info = answer
        return answer

    async def embed_query(self, text: str) -> list[float]:
        """(dim,) of length 1. A query longer than the model's window is cut at its end. Not retried when refused."""
        deadline_s = min(QUERY_DEADLINE_S, self._settings.embedding_timeout_s)
        body = {"inputs": [text], "truncate": True, "normalize": True}
        vectors = await self._http.call("POST", "/embed", body, deadline_s=deadline_s)
        return _rows(vectors, 1)[0]

    async def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """(n, dim), rows of length 1. A text over the model's window fails (Upstream): nothing is cut silently."""

        async def embed(batch: Sequence[str]) -> list[list[float]]:
            body = {"inputs": list(batch), "truncate": False, "normalize": True}
            return _rows(await self._http.call("POST", "/embed", body), len(batch))

        return await self._in_batches(texts, embed)

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens in each text without special ones."""

        async def count(batch: Sequence[str]) -> list[int]:
            body = {"inputs": list(batch), "add_special_tokens": False}
            return [len(tokens) for tokens in _rows(await self._http.call("POST", "/tokenize", body), len(batch))]

        return await self._in_batches(texts, count)

    async def _in_batches(self, texts: Sequence[str], work: Callable[[Sequence[str]], Awaitable[list[T]]]) -> list[T]:
        if not texts:
            return []
        size = int((await self.info()).get("max_client_batch_size") or DEFAULT_CLIENT_BATCH)
        batches = [texts[i : i + size] for i in range(0, len(texts), size)]
        return _joined(await asyncio.gather(*(self._patiently(work, batch) for batch in batches)))

    async def _patiently(self, work: Callable[[Sequence[str]], Awaitable[list[T]]], batch: Sequence[str]) -> list[T]:
        for attempt in range(OVERLOAD_RETRIES + 1):
            try:
                async with self._slots:
                    return await work(batch)
            except Overloaded as exc:
                if attempt == OVERLOAD_RETRIES:
                    raise
                await asyncio.sleep(min(exc.retry_after_s or 1, MAX_WAIT_S))
        raise AssertionError("unreachable")


class ServiceEmbedding(BaseEmbedding):
    """LlamaIndex's view of the service. A synchronous call runs in a loop of its own, with its own connections."""

    _client: TeiClient = PrivateAttr()
    _settings: RagSettings = PrivateAttr()

    def __init__(self, settings: RagSettings, client: TeiClient):
        """client: shared with the ServiceEmbedder that made this."""
        super().__init__(model_name=settings.embedding_model, embed_batch_size=DEFAULT_CLIENT_BATCH)
        self._settings = settings
        self._client = client

    @classmethod
    def class_name(cls) -> str:
        """The name in LlamaIndex's events."""
        return "ServiceEmbedding"

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await self._client.embed_query(query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._client.embed_documents([text]))[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await self._client.embed_documents(texts)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._apart(lambda client: client.embed_query(query))

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._apart(lambda client: client.embed_documents(texts))

    def _apart(self, call: Callable[[TeiClient], Awaitable[T]]) -> T:
        """A pooled connection belongs to the loop that opened it, and a synchronous caller has none to share."""

        async def work() -> T:
            client = TeiClient(self._settings)
            try:
                return await call(client)
            finally:
                await client.close()

        result: T = asyncio_run(work())
        return result


class ServiceEmbedder:
    """The Embedder that talks to the embedding service."""

    def __init__(self, settings: RagSettings):
        """Does no I/O."""
        self._client = TeiClient(settings)
        self._model = ServiceEmbedding(settings, self._client)
        self._identity: ModelIdentity | None = None

    @property
    def model(self) -> BaseEmbedding:
        """The LlamaIndex embedding over the service."""
        return self._model

    async def identity(self) -> ModelIdentity:
        """From /info; a plain TEI does not tell dim and identity: then one text is embedded, and its fields hashed."""
        if self._identity is None:
            info = await self._client.info()
            dim = int(info.get("dim") or len(await self._client.embed_query("dimension")))
            self._identity = ModelIdentity(
                str(info["model_id"]), dim, int(info["max_input_length"]), str(info.get("identity") or _hash(info))
            )
        return self._identity

    async def check(self) -> None:
        """Asks /info: the identity, once known, says nothing of a service that went away."""
        await self._client.info_now()

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens in each text without special ones."""
        return await self._client.count_tokens(texts)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.close()


def _hash(info: dict[str, Any]) -> str:
    """What decides a TEI server's vectors: model, revision, precision, pooling and window."""
    fields = ("model_id", "model_sha", "model_dtype", "model_type", "max_input_length")
    told = {name: info.get(name) for name in fields}
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _rows(answer: Any, expected: int) -> list[list[Any]]:
    if not isinstance(answer, list) or len(answer) != expected:
        got = f"{len(answer)} rows" if isinstance(answer, list) else type(answer).__name__
        raise Upstream(f"the embedding service answered {got} for {expected} texts")
    return answer


def _joined(parts: Iterable[list[T]]) -> list[T]:
    return [item for part in parts for item in part]
