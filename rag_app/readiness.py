"""What the RAG server needs, what it can do without, and what would mend what is missing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from rag_app.clients.embedding import Embedder
from rag_app.clients.llm import LanguageModel, check_llm
from rag_app.db.chunks import ChunkStore
from service_kit.errors import ServiceError
from service_kit.health import Check

# A probe that waits is a probe that failed: whoever asks /readyz asks again.
PROBE_LIMIT_S = 3.0


async def checks_of(store: ChunkStore, embedder: Embedder, llm: LanguageModel) -> Sequence[Check]:
    """Qdrant is required. The others are told and not required.

    Without the embedding service search is by keyword; without a language model answers are extracts.
    """
    return await asyncio.gather(
        _probe("qdrant", store.ready, "answers", is_required=True),
        _probe("embedding", embedder.identity, "answers", is_required=False),
        _probe("llm", lambda: check_llm(llm), "answers", is_required=False),
    )


async def _probe(name: str, ask: Callable[[], Awaitable[Any]], well: str, *, is_required: bool) -> Check:
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            await ask()
    except ServiceError as exc:
        return Check(name, False, exc.message, is_required)
    except TimeoutError:
        return Check(name, False, f"did not answer within {PROBE_LIMIT_S:g} s", is_required)
    return Check(name, True, well, is_required)
