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

# What was seen longer ago than this is not told as a fact of now.
SEEN_FOR_S = 300.0


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
        self._llm_seen: tuple[float, Check] | None = None

    async def checks(self) -> Sequence[Check]:
        """How it is now."""
        if self._role == "indexer":
            return await self._ours()
        ours, llm = await asyncio.gather(self._ours(), _probe("llm", self._ask_llm, "answers", is_required=False))
        self._llm_seen = time.monotonic(), llm
        return [*ours, llm]

    async def watched(self) -> Sequence[Check]:
        """How it is now, but of the language model only what checks() saw last: a scrape must not call whom it pays."""
        checks = await self._ours()
        if self._llm_seen is not None and time.monotonic() - self._llm_seen[0] < SEEN_FOR_S:
            checks.append(self._llm_seen[1])
        return checks

    async def _ours(self) -> list[Check]:
        probes = [
            _probe("qdrant", self._store.ready, "answers", is_required=True),
            _probe("embedding", self._embedder.check, "answers", is_required=self._role == "indexer"),
        ]
        if self._role == "api":
            probes.append(_probe("indexer", self._ask_indexer, "holds the lease", is_required=False))
        return list(await asyncio.gather(*probes))

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
