"""What the RAG server needs, what it can do without, and what would mend what is missing."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from rag_app.clients.embedding import Embedder
from rag_app.clients.llm import LanguageModel, check_llm
from rag_app.core.settings import Role
from rag_app.db.chunks import ChunkStore
from service_kit.errors import ServiceError, Unavailable
from service_kit.health import Check

# A probe that waits is a probe that failed: whoever asks /readyz asks again.
PROBE_LIMIT_S = 3.0

# Behind the language model may be somebody's paid service, and monitors ask every second. A failure is asked again.
WELL_FOR_S = 30.0


class Readiness:
    """What /readyz says. Qdrant is required; the others are told and not required.

    Without the embedding service search is by keyword; without a language model answers are extracts; without an
    indexer what is indexed stays as it is. An indexer cannot do without vectors, and asks no language model.
    """

    def __init__(
        self, store: ChunkStore, embedder: Embedder, llm: LanguageModel, role: Role, has_indexer: Callable[[], bool]
    ):
        """has_indexer: whether any process holds the lease to index. Asks nothing yet."""
        self._store = store
        self._embedder = embedder
        self._llm = llm
        self._role = role
        self._has_indexer = has_indexer
        self._llm_was_well_at = -math.inf

    async def checks(self) -> Sequence[Check]:
        """How it is now."""
        indexes_only = self._role == "indexer"
        probes = [
            _probe("qdrant", self._store.ready, "answers", is_required=True),
            _probe("embedding", self._embedder.identity, "answers", is_required=indexes_only),
        ]
        if not indexes_only:
            probes.append(_probe("llm", self._ask_llm, "answers", is_required=False))
        if self._role == "api":
            probes.append(_probe("indexer", self._ask_indexer, "holds the lease", is_required=False))
        return await asyncio.gather(*probes)

    async def _ask_indexer(self) -> None:
        if not await asyncio.to_thread(self._has_indexer):
            raise Unavailable("no process indexes: jobs wait; start one with RAG_ROLE=indexer on the same DATA_DIR")

    async def _ask_llm(self) -> None:
        if time.monotonic() - self._llm_was_well_at < WELL_FOR_S:
            return
        await check_llm(self._llm)
        self._llm_was_well_at = time.monotonic()


async def _probe(name: str, ask: Callable[[], Awaitable[Any]], well: str, *, is_required: bool) -> Check:
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            await ask()
    except ServiceError as exc:
        return Check(name, False, exc.message, is_required)
    except TimeoutError:
        return Check(name, False, f"did not answer within {PROBE_LIMIT_S:g} s", is_required)
    return Check(name, True, well, is_required)
