"""Search as a LlamaIndex retriever: candidates, ranking, texts, nodes."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from rag_app.clients.embedding import Embedder
from rag_app.clients.reranking import Reranker
from rag_app.core.bm25 import highest_score, query_vector, term_weights
from rag_app.core.metrics import RagMetrics
from rag_app.core.models import Asked, Chunk, Hit, Scope, SearchQuery, SearchResult
from rag_app.core.settings import RagSettings
from rag_app.core.tokens import query_term_ids
from rag_app.core.wire import checked_text
from rag_app.db.chunks import ChunkStore
from rag_app.db.filters import Selection
from rag_app.db.manifest import Manifest
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
from rag_app.features.search.run import Run
from rag_app.features.search.shown import hits_of, passage
from rag_app.features.search.understanding import QueryKind, understood
from rag_app.features.search.weights import Weights
from service_kit.errors import DeadlineExceeded, NotFound, Overloaded, Unavailable, Upstream

# What makes the dense arm stand aside: the embedding service is down, late, full, or answers wrongly.
_ARM_FAILURES = (Unavailable, DeadlineExceeded, Overloaded, Upstream)

# One arm in the order of its own scores: what the others are compared with.
_BARE = frozenset({"dense", "sparse"})


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
        reranker: Reranker | None = None,
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
        self._reranker = reranker
        self._source = CandidateSource(store, manifest)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        # The pooled connections below belong to the event loop of the app: another loop would break them.
        raise NotImplementedError("search is asynchronous: await aretrieve(text)")

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        checked_limit(self._query, self._settings)
        text = checked_text("query", query_bundle.query_str, self._settings.max_query_chars)
        read = understood(text)
        run = Run(read.text, Weights().overridden(self._query.ranking), read, joined(self._query.filters, read.filters))
        with self._metrics.search(self._query.mode), run.stage("total"):
            hits = await self._search(run)
        self._metrics.searched(self._query.mode, run.took_ms, run.degraded)
        self.result = SearchResult(tuple(hits), run.degraded, run.took_ms, self._asked(run))
        return [NodeWithScore(node=_node(hit), score=hit.score) for hit in hits]

    async def _search(self, run: Run) -> list[Hit]:
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
            hits = await hits_of(ranked, run.states, run.weights, run.dense, self._store, self._scope)
        if self._query.mode in _BARE:
            return hits
        hits = ranking.quoted(hits, run.read, run.ranking.verbatim_boost)
        if self._query.mode == "hybrid":
            hits = await self._reranked(run, hits)
        return ranking.shown_of(hits, self._query.limit, int(run.ranking.per_file))

    async def _reranked(self, run: Run, hits: list[Hit]) -> list[Hit]:
        """By a cross-encoder, where one is configured; where it cannot be had the hits stay, and that is said."""
        if self._reranker is None or not run.ranking.rerank_share:
            return hits
        first = hits[: self._settings.rerank_depth]
        with run.stage("rerank"):
            try:
                scores = await self._reranker.scores(run.text, [passage(hit.chunk) for hit in first])
            except _ARM_FAILURES:
                run.degraded = (*run.degraded, "reranker")
                return hits
        return ranking.reranked(hits, scores, run.ranking.rerank_share)

    def _asked(self, run: Run) -> Asked:
        origin = "request" if self._query.ranking else "repository" if run.is_kept else "default"
        return Asked(str(run.read.kind), run.text, run.filters or self._query.filters, run.ranking.named(), origin)

    async def _by_name(self, run: Run, selection: Selection, paths: PathFilter) -> list[Ranked]:
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

    async def _by_arms(self, run: Run, selection: Selection, paths: PathFilter) -> list[Ranked]:
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
            wanted = max(ranking.read_depth(run.read), self._rerank_depth(run), self._query.limit)
            return ranking.spread(ranked, wanted, int(run.ranking.per_file))

    def _rerank_depth(self, run: Run) -> int:
        return self._settings.rerank_depth if self._reranker is not None and run.ranking.rerank_share else 0

    async def _definitions(self, run: Run, selection: Selection, paths: PathFilter) -> list[Chunk]:
        """What a name defines, and what stands at a path's line, where that is all that the query is.

        Of a name that stands everywhere, and of a long file, the arms may bring anything else.
        """
        if self._query.mode in _BARE:
            return []
        if run.read.kind == QueryKind.PATH and run.read.lines and not run.is_place_told:
            return await self._source.at_lines(run.states, run.read.lines, selection)
        if run.read.kind != QueryKind.SYMBOL:
            return []
        return await self._source.named(_named(selection, run.read.names, ""), paths)

    def _dense_share(self, run: Run, cosines: Sequence[float]) -> float:
        if run.dense is None:
            return 0.0
        if run.sparse is None or self._query.mode == "dense":
            return 1.0
        return run.ranking.dense_share_of(run.read, is_sure=fusion.is_sure(cosines, len(run.weights)))

    async def _ask_words(self, run: Run) -> None:
        """The sparse vector, and the weights that coverage is measured by, from the repositories searched."""
        searched = frozenset(state.repository for state in run.states)
        frequencies, documents = await asyncio.to_thread(
            self._manifest.document_frequencies, searched, query_term_ids(run.text)
        )
        run.weights = term_weights(run.text, frequencies, documents)
        vector = query_vector(run.text, frequencies, documents)
        if self._query.mode != "dense" and vector.indices:
            run.sparse = vector

    async def _ask_meaning(self, run: Run) -> None:
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
            run.degraded = (*run.degraded, "embedding")
            return
        await self._store.check(identity)
        run.dense = tuple(vector)


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
