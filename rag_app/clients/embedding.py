"""Texts in, vectors out: what the product asks of an embedding model, and which of the two ways is configured."""

from collections.abc import Sequence
from typing import Protocol

from llama_index.core.base.embeddings.base import BaseEmbedding

from rag_app.clients.embedding_in_process import InProcessEmbedder
from rag_app.clients.embedding_service import ServiceEmbedder
from rag_app.core.models import ModelIdentity
from rag_app.core.settings import RagSettings

__all__ = ["Embedder", "InProcessEmbedder", "ModelIdentity", "ServiceEmbedder", "create_embedder"]


class Embedder(Protocol):
    """An embedding model, wherever it runs. Every method fails with Unavailable, DeadlineExceeded or Upstream."""

    @property
    def model(self) -> BaseEmbedding:
        """What pipelines and retrievers use. A document too long for the model fails; a query is cut."""
        ...

    async def identity(self) -> ModelIdentity:
        """Which model it is. Asked once; the answer is kept after the first success."""
        ...

    async def check(self) -> None:
        """Fails where it cannot be had now."""
        ...

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens in each text, special tokens not included: identity().max_tokens - 2 of them fit."""
        ...

    async def close(self) -> None:
        """Let go of connections and threads."""
        ...


def create_embedder(settings: RagSettings) -> Embedder:
    """The embedder that the settings name. Does no I/O: the first call connects, or loads the model."""
    if settings.embedding_in_process:
        return InProcessEmbedder(settings.embedding_model)
    return ServiceEmbedder(settings)
