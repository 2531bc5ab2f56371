"""Candidates as hits: their texts, and what is shown of them. A file's chunks hold every line; a hit ends earlier."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rag_app.core.models import Chunk, Hit, Scope, Span
from rag_app.db.chunks import ChunkStore
from rag_app.db.records import RefState
from rag_app.features.search.fusion import Ranked
from rag_app.features.search.relevance import coverage


async def hits_of(
    ranked: Sequence[Ranked],
    states: Sequence[RefState],
    weights: Mapping[int, float],
    dense: tuple[float, ...] | None,
    store: ChunkStore,
    scope: Scope,
) -> list[Hit]:
    """Those of the ranked that are still indexed, in their order, with their texts and what their scores are made of.

    states: of the refs that are searched; weights: term id -> IDF; dense: the query's vector, where there is one.
    """
    chunks, cosines = await _texts(ranked, dense, store, scope)
    refs = {(state.repository, state.layer): state for state in states}
    hits = []
    for one in ranked:
        chunk = chunks.get(one.candidate.chunk.id)
        state = refs.get((one.candidate.chunk.repository, one.candidate.chunk.layer))
        if chunk is None or state is None:
            continue  # deleted since the arms were asked
        scores = {**one.parts, "sparse_share": round(coverage(chunk, weights), 4)}
        cosine = one.candidate.dense if one.candidate.dense is not None else cosines.get(chunk.id)
        if cosine is not None:
            scores["dense"] = cosine
        if one.candidate.sparse is not None:
            scores["sparse"] = one.candidate.sparse
        hits.append(Hit(chunk, state.ref, state.commit, one.score, scores))
    return hits


async def _texts(
    ranked: Sequence[Ranked], dense: tuple[float, ...] | None, store: ChunkStore, scope: Scope
) -> tuple[dict[str, Chunk], dict[str, float]]:
    """The whole chunks by id, and cosines where hits have none that only the words found: relevance needs them."""
    ids = [one.candidate.chunk.id for one in ranked]
    if dense is None or all(one.candidate.dense is not None for one in ranked):
        return {chunk.id: shown(chunk) for chunk in await store.retrieve(ids, scope)}, {}
    found = await store.scored(dense, ids, scope)
    return {one.chunk.id: shown(one.chunk) for one in found}, {one.chunk.id: one.score for one in found}


def passage(chunk: Chunk) -> str:
    """What a cross-encoder reads of a chunk: where it stands, and its lines."""
    return "\n".join(filter(None, (chunk.span.path, chunk.qualified_name, chunk.text)))


def shown(chunk: Chunk) -> Chunk:
    """The chunk without blank lines at its ends; as it is where it holds nothing else."""
    lines = chunk.text.split("\n")
    written = [number for number, line in enumerate(lines) if line.strip()]
    if not written or (written[0] == 0 and written[-1] == len(lines) - 1):
        return chunk
    first, last = written[0], written[-1]
    start_line = chunk.span.start_line
    span = Span(chunk.span.path, start_line + first, start_line + last)
    return replace(chunk, span=span, text="\n".join(lines[first : last + 1]))
