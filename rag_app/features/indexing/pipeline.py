"""Indexing as a LlamaIndex IngestionPipeline: a file is a Document, a chunk a node; split, weigh terms, embed.

Each step is a TransformComponent, so that a notebook can take one out or put another in.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import BaseNode, Document, MetadataMode, TextNode, TransformComponent

from rag_app.clients.embedding import Embedder
from rag_app.core.bm25 import document_vector
from rag_app.core.models import Chunk, EmbeddedChunk, ModelIdentity, Span, SparseVector
from rag_app.core.tokens import document_terms
from rag_app.db.embedding_cache import EmbeddingCache, text_hash
from rag_app.db.manifest_schema import BASE_LAYER
from rag_app.features.indexing.chunking import chunker
from rag_app.features.indexing.chunking.counting import TokenCounts

_IDS = uuid.UUID("6f1c3a52-8f0e-5d53-9b0f-6d0a5f6b1c11")

# Lines in one call of the tokenizer: about 100 kB, a few tens of ms of its time.
COUNT_BATCH = 2_000
# Texts in one call of the model, and calls at once: one is computed while the next is on its way.
EMBED_BATCH = 64
EMBED_CONCURRENCY = 2


class CodeNode(TextNode):
    """A chunk on its way through the pipeline. Its text is the file's own lines; what is embedded is another text."""

    chunk: Any = Field(description="rag_app.core.models.Chunk")
    embedded_text: str = Field(description="header and code, fit for the model's window")
    term_counts: dict[int, int] = Field(default_factory=dict, description="term id -> count")
    sparse: Any = Field(default=None, description="rag_app.core.models.SparseVector")

    def get_content(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> str:
        """The embedded text for an embedding, else the file's own lines."""
        if metadata_mode == MetadataMode.EMBED:
            return self.embedded_text
        return super().get_content(metadata_mode)


def document(repository: str, path: str, blob: str, text: str) -> Document:
    """A file as the pipeline takes it."""
    return Document(id_=f"{repository}/{path}@{blob}", text=text, metadata={
        "repository": repository, "layer": BASE_LAYER, "path": path, "blob": blob,
    })  # fmt: skip


def chunk_id(repository: str, layer: str, path: str, blob: str, ordinal: int) -> str:
    """The id of a chunk's point: the same content at the same place has the same id."""
    return str(uuid.uuid5(_IDS, "\0".join((repository, layer, path, blob, str(ordinal)))))


class Splitter(TransformComponent):
    """Documents in, CodeNodes out, along definitions and within the model's window."""

    _embedder: Any = PrivateAttr()
    _counts: TokenCounts | None = PrivateAttr(default=None)

    def __init__(self, embedder: Embedder):
        """embedder: whose tokenizer and window count."""
        super().__init__()
        self._embedder = embedder

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """For pipelines that are run outside of an event loop."""
        return asyncio.run(self.acall(nodes, **kwargs))

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Parsing and packing run in a thread: the event loop also serves searches."""
        window = (await self._embedder.identity()).max_tokens
        if self._counts is None:
            self._counts = TokenCounts(await newline_tokens(self._embedder))
        counts = self._counts
        parsed = await asyncio.to_thread(
            lambda: [chunker.parse(node.metadata["path"], node.get_content()) for node in nodes]
        )
        wanted = counts.unknown(line for file in parsed for line in file.countable())
        for first in range(0, len(wanted), COUNT_BATCH):
            texts = wanted[first : first + COUNT_BATCH]
            counts.learn(texts, await self._embedder.count_tokens(texts))
        return await asyncio.to_thread(
            lambda: [
                _node(node, file.language, ordinal, passage)
                for node, file in zip(nodes, parsed, strict=True)
                for ordinal, passage in enumerate(chunker.chunk(file, counts, window))
            ]
        )


class TermWeigher(TransformComponent):
    """Gives each CodeNode its sparse vector: the term-frequency half of BM25."""

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """In place."""
        for node in nodes:
            assert isinstance(node, CodeNode)
            chunk: Chunk = node.chunk
            node.term_counts = dict(document_terms(chunk.span.path, chunk.qualified_name or chunk.symbol, chunk.text))
            node.sparse = document_vector(node.term_counts)
        return nodes

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """In a thread: 0.2 ms a chunk, of an event loop that also serves searches."""
        return await asyncio.to_thread(self.__call__, nodes, **kwargs)


class CachedEmbedding(TransformComponent):
    """Gives each node its embedding: from the cache where its text was ever embedded, else by the model."""

    _model: BaseEmbedding = PrivateAttr()
    _cache: EmbeddingCache = PrivateAttr()
    _identity: ModelIdentity = PrivateAttr()
    _on_embedded: Callable[[int, int], None] = PrivateAttr()
    _in_flight: asyncio.Semaphore = PrivateAttr()

    def __init__(
        self,
        model: BaseEmbedding,
        cache: EmbeddingCache,
        identity: ModelIdentity,
        on_embedded: Callable[[int, int], None] = lambda embedded, reused: None,
    ):
        """on_embedded: told (newly embedded, reused) numbers of chunks as they come."""
        super().__init__()
        self._model = model
        self._cache = cache
        self._identity = identity
        self._on_embedded = on_embedded
        self._in_flight = asyncio.Semaphore(EMBED_CONCURRENCY)

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """For pipelines that are run outside of an event loop."""
        return asyncio.run(self.acall(nodes, **kwargs))

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """In place. Fails as the model fails; what was embedded until then stays in the cache."""
        by_hash: dict[bytes, list[BaseNode]] = {}
        for node in nodes:
            by_hash.setdefault(text_hash(node.get_content(MetadataMode.EMBED)), []).append(node)
        known = await asyncio.to_thread(self._cache.get_many, self._identity.hash, list(by_hash))
        for key, vector in known.items():
            _set(by_hash[key], np.frombuffer(vector, "<f4").tolist())
        missing = [key for key in by_hash if key not in known]
        fresh = [missing[first : first + EMBED_BATCH] for first in range(0, len(missing), EMBED_BATCH)]
        self._on_embedded(0, len(nodes) - sum(len(by_hash[key]) for key in missing))
        await _all_or_first_failure([self._embed(keys, by_hash) for keys in fresh])
        return nodes

    async def _embed(self, keys: Sequence[bytes], by_hash: dict[bytes, list[BaseNode]]) -> None:
        async with self._in_flight:
            firsts = await self._model.acall([by_hash[key][0] for key in keys])
        vectors = [np.asarray(node.embedding, dtype="<f4") for node in firsts]
        for key, vector in zip(keys, vectors, strict=True):
            _set(by_hash[key], vector.tolist())
        packed = {key: vector.tobytes() for key, vector in zip(keys, vectors, strict=True)}
        await asyncio.to_thread(self._cache.put_many, self._identity.hash, packed)
        self._on_embedded(len(keys), sum(len(by_hash[key]) - 1 for key in keys))


def ingestion_pipeline(splitter: Splitter, embedding: CachedEmbedding) -> IngestionPipeline:
    """The steps from files to points. No cache or docstore of LlamaIndex's: the manifest knows what has changed."""
    return IngestionPipeline(transformations=[splitter, TermWeigher(), embedding], disable_cache=True)


def embedded_chunk(node: BaseNode) -> EmbeddedChunk:
    """What the store takes, of a node that went through the whole pipeline."""
    assert isinstance(node, CodeNode)
    sparse: SparseVector = node.sparse
    return EmbeddedChunk(node.chunk, tuple(node.get_embedding()), sparse)


def document_frequencies(nodes: Sequence[BaseNode]) -> dict[int, int]:
    """Term id -> number of these nodes that have it."""
    frequencies: Counter[int] = Counter()
    for node in nodes:
        assert isinstance(node, CodeNode)
        frequencies.update(node.term_counts.keys())
    return frequencies


async def newline_tokens(embedder: Embedder) -> int:
    """What a line break costs this tokenizer: 0 for WordPiece. Rounded up."""
    alone, together = await embedder.count_tokens(["a", "a\na\n  a\na\na"])
    return max(0, -(-(together - 5 * alone) // 4))


def _node(file: BaseNode, language: str, ordinal: int, passage: chunker.Passage) -> CodeNode:
    where = file.metadata
    chunk = Chunk(
        id=chunk_id(where["repository"], where["layer"], where["path"], where["blob"], ordinal),
        repository=where["repository"],
        layer=where["layer"],
        blob=where["blob"],
        span=Span(where["path"], passage.start_line, passage.end_line),
        language=language,
        kind=passage.kind,
        symbol=passage.symbol,
        qualified_name=passage.qualified_name,
        text=passage.text,
    )
    payload = {key: value for key, value in asdict(chunk).items() if key not in ("id", "span", "text")}
    return CodeNode(
        id_=chunk.id,
        text=chunk.text,
        metadata={**payload, **asdict(chunk.span)},
        chunk=chunk,
        embedded_text=passage.embedded,
    )


def _set(nodes: Sequence[BaseNode], vector: list[float]) -> None:
    for node in nodes:
        node.embedding = vector


async def _all_or_first_failure(work: Sequence[Any]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failures:
        # One word for one failure: the caller maps a ServiceError, not a group of them.
        raise failures.exceptions[0] from failures
