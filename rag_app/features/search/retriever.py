"""Search as a LlamaIndex retriever: candidates, ranking, texts, nodes."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from rag_app.clients.embedding import Embedder
from rag_app.core.bm25 import highest_score, query_vector, term_weights
from rag_app.core.metrics import RagMetrics
from rag_app.core.models import Asked, Chunk, Filters, Hit, Scope, SearchQuery, SearchResult, SparseVector
from rag_app.core.settings import RagSettings
from rag_app.core.tokens import query_term_ids
from rag_app.core.wire import checked_text
from rag_app.db.chunks import ChunkStore
from rag_app.db.filters import Selection
from rag_app.db.manifest import Manifest
from rag_app.db.records import RefState
from rag_app.features.search import fusion, ranking
from rag_app.features.search.candidates import CandidateSource
from rag_app.features.search.fusion import Ranked
from rag_app.features.search.kept import kept_weights
from rag_app.features.search.query import (
    PathFilter,
    checked_limit,
    joined,
    path_filter,
    selection_of,
    within,
)
from rag_app.features.search.relevance import coverage
from rag_app.features.search.shown import shown
from rag_app.features.search.understanding import QueryKind, Understood, understood
from rag_app.features.search.weights import Weights
from service_kit.errors import DeadlineExceeded, NotFound, Overloaded, Unavailable, Upstream

# What makes the dense arm stand aside: the embedding service is down, late, full, or answers wrongly.
_ARM_FAILURES = (Unavailable, DeadlineExceeded, Overloaded, Upstream)

# One arm in the order of its own scores: what the others are compared with.
_BARE = frozenset({"dense", "sparse"})


@dataclass(slots=True)
class _Run:
    """What one search has found out so far."""

    text: str
    ranking: Weights
    read: Understood
    filters: Filters | None  # the request's and the query's own; None where nothing can satisfy both
    is_kept: bool = False  # the repository's own weights are below the request's
    states: Sequence[RefState] = ()
    weights: Mapping[int, float] = field(default_factory=dict)
    dense: tuple[float, ...] | None = None
    sparse: SparseVector | None = None
    degraded: tuple[str, ...] = ()
    took_ms: dict[str, float] = field(default_factory=dict)

    @property
    def is_place_told(self) -> bool:
        """Whether paths were asked for, by the request or in the query."""
        return self.filters is not None and bool(self.filters.paths)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.took_ms[name] = round((time.perf_counter() - started) * 1000, 2)


class CodeRetriever(BaseRetriever):
    """One search. `aretrieve(text)` does it; `result` then holds all that was found."""

    def __init__(
        self,
        store: ChunkStore,
        manifest: Manifest,
        embedder: Embedder,
        settings: RagSettings,
        query: SearchQuery,
        scope: Scope,
        metrics: RagMetrics,
    ):
        """query: all but its text, which aretrieve() is given; scope: what the caller may see. Does no I/O."""
        super().__init__()
        self.result = SearchResult((), (), {})
        self._store = store
        self._manifest = manifest
        self._embedder = embedder
        self._settings = settings
        self._query = query
        self._scope = scope
        self._metrics = metrics
        self._source = CandidateSource(store, manifest)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        # The pooled connections below belong to the event loop of the app: another loop would break them.
        raise NotImplementedError("search is asynchronous: await aretrieve(text)")

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        checked_limit(self._query, self._settings)
        text = checked_text("query", query_bundle.query_str, self._settings.max_query_chars)
        read = understood(text)
        run = _Run(
            read.text, Weights().overridden(self._query.ranking), read, joined(self._query.filters, read.filters)
        )
        with self._metrics.search(self._query.mode), run.stage("total"):
            hits = await self._search(run)
        self._metrics.searched(self._query.mode, run.took_ms, run.degraded)
        self.result = SearchResult(tuple(hits), run.degraded, run.took_ms, self._asked(run))
        return [NodeWithScore(node=_node(hit), score=hit.score) for hit in hits]

    async def _search(self, run: _Run) -> list[Hit]:
        paths = within(path_filter(self._query.filters.paths), path_filter(run.read.filters.paths))
        with run.stage("manifest"):
            scope = await self._source.narrowed(self._scope, run.read.filters.repositories)
            run.states, is_whole = await self._source.states(scope, self._query.ref)
            weights, run.is_kept = await asyncio.to_thread(kept_weights, self._manifest, scope)
            run.ranking = weights.overridden(self._query.ranking)
            if self._query.ref is not None and scope and not run.states:
                raise NotFound(
                    f"no repository in scope has the ref {self._query.ref!r}; GET /v1/repositories lists them"
                )
            if run.filters is None or paths is None or not run.states:
                return []
            matching = await self._source.matching_paths(run.states, paths)
        selection = selection_of(run.filters, run.states, paths, matching)
        if selection is None:
            return []
        selection = replace(selection, is_whole=is_whole)
        if self._query.mode == "symbol":
            ranked = await self._by_name(run, selection, paths)
        else:
            ranked = await self._by_arms(run, selection, paths)
        with run.stage("fetch"):
            hits = await self._hits(run, ranked)
        if self._query.mode in _BARE:
            return hits
        hits = ranking.quoted(hits, run.read, run.ranking.verbatim_boost)
        return ranking.shown_of(hits, self._query.limit, int(run.ranking.per_file))

    def _asked(self, run: _Run) -> Asked:
        origin = "request" if self._query.ranking else "repository" if run.is_kept else "default"
        return Asked(str(run.read.kind), run.text, run.filters or self._query.filters, run.ranking.named(), origin)

    async def _by_name(self, run: _Run, selection: Selection, paths: PathFilter) -> list[Ranked]:
        name = run.read.names[0] if run.read.kind == QueryKind.SYMBOL else run.text.lower()
        with run.stage("index"):
            exact = await self._source.named(_named(selection, (name,), ""), paths)
            begun = await self._source.named(_named(selection, (), name), paths)
        with run.stage("rank"):
            chunks = list({chunk.id: chunk for chunk in [*exact, *begun]}.values())
            ranked = ranking.by_name(chunks, name)
            return (ranked if run.is_place_told else ranking.stood_back(ranked, run.read, run.ranking))[
                : self._query.limit
            ]

    async def _by_arms(self, run: _Run, selection: Selection, paths: PathFilter) -> list[Ranked]:
        with run.stage("embedding"):
            await asyncio.gather(self._ask_words(run), self._ask_meaning(run))
        vectors = [vector for vector in (run.dense, run.sparse) if vector is not None]
        if not vectors:
            return []
        with run.stage("index"):
            arms, named = await asyncio.gather(
                self._source.arms(vectors, selection, paths, self._query.limit),
                self._definitions(run, selection, paths),
            )
        with run.stage("rank"):
            by_arm = {id(vector): [(f.chunk, f.score) for f in arm] for vector, arm in zip(vectors, arms, strict=True)}
            merged = fusion.merge(by_arm.get(id(run.dense), []), by_arm.get(id(run.sparse), []), named)
            cosines = [score for _, score in by_arm.get(id(run.dense), [])]
            ceiling, share = highest_score(run.weights), self._dense_share(run, cosines)
            if self._query.mode in _BARE:
                return fusion.convex(merged, share, ceiling)[: self._query.limit]
            ranked = ranking.rank(
                merged, run.read, run.ranking, ceiling, dense_share=share, is_place_told=run.is_place_told
            )
            wanted = max(ranking.read_depth(run.read), self._query.limit)
            return ranking.spread(ranked, wanted, int(run.ranking.per_file))

    async def _definitions(self, run: _Run, selection: Selection, paths: PathFilter) -> list[Chunk]:
        """What a query that is a name defines: of a name that stands everywhere the arms may bring anything else."""
        if run.read.kind != QueryKind.SYMBOL or self._query.mode in _BARE:
            return []
        return await self._source.named(_named(selection, run.read.names, ""), paths)

    def _dense_share(self, run: _Run, cosines: Sequence[float]) -> float:
        if run.dense is None:
            return 0.0
        if run.sparse is None or self._query.mode == "dense":
            return 1.0
        return run.ranking.dense_share_of(run.read, is_sure=fusion.is_sure(cosines, len(run.weights)))

    async def _ask_words(self, run: _Run) -> None:
        """The sparse vector, and the weights that coverage is measured by, from the repositories searched."""
        searched = frozenset(state.repository for state in run.states)
        frequencies, documents = await asyncio.to_thread(
            self._manifest.document_frequencies, searched, query_term_ids(run.text)
        )
        run.weights = term_weights(run.text, frequencies, documents)
        vector = query_vector(run.text, frequencies, documents)
        if self._query.mode != "dense" and vector.indices:
            run.sparse = vector

    async def _ask_meaning(self, run: _Run) -> None:
        """The dense vector. Where it cannot be had, hybrid search goes on without it and says so."""
        if self._query.mode == "sparse":
            return
        try:
            vector, identity = await asyncio.gather(
                self._embedder.model.aget_query_embedding(run.text), self._embedder.identity()
            )
        except _ARM_FAILURES as exc:
            if self._query.mode == "dense":
                needed = "mode 'dense' needs the embedding service: "
                raise Unavailable(needed + exc.message, retry_after_s=1, logged=needed + exc.logged) from exc
            run.degraded = ("embedding",)
            return
        await self._store.check(identity)
        run.dense = tuple(vector)

    async def _hits(self, run: _Run, ranked: Sequence[Ranked]) -> list[Hit]:
        chunks, cosines = await self._texts(run, ranked)
        refs = {(state.repository, state.layer): state for state in run.states}
        hits = []
        for one in ranked:
            chunk = chunks.get(one.candidate.chunk.id)
            state = refs.get((one.candidate.chunk.repository, one.candidate.chunk.layer))
            if chunk is None or state is None:
                continue  # deleted since the arms were asked
            scores = {**one.parts, "sparse_share": round(coverage(chunk, run.weights), 4)}
            dense = one.candidate.dense if one.candidate.dense is not None else cosines.get(chunk.id)
            if dense is not None:
                scores["dense"] = dense
            if one.candidate.sparse is not None:
                scores["sparse"] = one.candidate.sparse
            hits.append(Hit(chunk, state.ref, state.commit, one.score, scores))
        return hits

    async def _texts(self, run: _Run, ranked: Sequence[Ranked]) -> tuple[dict[str, Chunk], dict[str, float]]:
        """The whole chunks by id, and cosines where hits have none that only the words found: relevance needs them."""
        ids = [one.candidate.chunk.id for one in ranked]
        if run.dense is None or all(one.candidate.dense is not None for one in ranked):
            return {chunk.id: shown(chunk) for chunk in await self._store.retrieve(ids, self._scope)}, {}
        found = await self._store.scored(run.dense, ids, self._scope)
        return {one.chunk.id: shown(one.chunk) for one in found}, {one.chunk.id: one.score for one in found}


def _named(selection: Selection, names: tuple[str, ...], prefix: str) -> Selection:
    # A symbol filter stays: both must hold, and Qdrant is asked for the narrower of the two.
    return replace(selection, names=selection.names or names, name_prefix=prefix)


def _node(hit: Hit) -> TextNode:
    chunk = hit.chunk
    metadata = {
        "path": chunk.span.path,
        "start_line": chunk.span.start_line,
        "end_line": chunk.span.end_line,
        "repository": chunk.repository,
        "commit": hit.commit,
        "language": chunk.language,
        "qualified_name": chunk.qualified_name,
    }
    return TextNode(id_=chunk.id, text=chunk.text, metadata=metadata)
