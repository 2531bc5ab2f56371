"""What the two arms brought, as one list with one score. Pure: values in, values out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from rag_app.core.models import Chunk

# The cosine that all-MiniLM-L6-v2 gives unrelated text and code: .10 and .18 on average on docstrings and web queries.
DENSE_FLOOR = 0.1


# An arm that brought so many ended there and not for want of words: what it lacks may have nearly as much as its last.
# As much as this of its last score gained .003 NDCG@10 on 125 commits, .002 on 202 questions, .002 on docstrings and
# .004 on web queries; the true score no more than that, and for cosines the same lost .000 to .001.
FULL_ARM = 100
LACKING_SHARE = 0.8

# Where the best cosine leads the tenth by so much, the dense arm knows what is meant; few words give BM25 little.
SURE_LEAD = 0.11
SURE_TERMS = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that an arm brought. dense: cosine; sparse: BM25 score; None where that arm did not bring it.

    dense_rank, sparse_rank: its place in each arm, from 1; 0 where that arm did not bring it.
    """

    chunk: Chunk
    dense: float | None = None
    sparse: float | None = None
    dense_rank: int = 0
    sparse_rank: int = 0

    @property
    def ranks(self) -> dict[str, float]:
        """Its places in the arms that brought it, by name."""
        ranks = {"dense_rank": self.dense_rank, "sparse_rank": self.sparse_rank}
        return {name: rank for name, rank in ranks.items() if rank}


class Fused(NamedTuple):
    """What the arms say of a candidate, each between its floor (0) and its ceiling (1), and both together."""

    dense: float
    sparse: float
    score: float

    @property
    def parts(self) -> dict[str, float]:
        """All three, by name."""
        return {"dense_part": self.dense, "sparse_part": self.sparse, "fused": self.score}


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with its score in [0, 1], and `parts`: what the score was made of."""

    candidate: Candidate
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)


def merge(
    dense: Sequence[tuple[Chunk, float]], sparse: Sequence[tuple[Chunk, float]], named: Sequence[Chunk] = ()
) -> list[Candidate]:
    """One candidate a chunk, with the score of each arm that brought it; in order of first appearance.

    named: chunks that a name in the query found, without a score.
    """
    cosines = {chunk.id: (score, rank) for rank, (chunk, score) in enumerate(dense, 1)}
    bm25 = {chunk.id: (score, rank) for rank, (chunk, score) in enumerate(sparse, 1)}
    chunks = {chunk.id: chunk for chunk in [*(chunk for chunk, _ in [*dense, *sparse]), *named]}
    merged = []
    for i, chunk in chunks.items():
        cosine, dense_rank = cosines.get(i, (None, 0))
        score, sparse_rank = bm25.get(i, (None, 0))
        merged.append(Candidate(chunk, cosine, score, dense_rank, sparse_rank))
    return merged


def is_sure(cosines: Sequence[float], terms: int) -> bool:
    """Whether the dense arm is to be trusted more than usually. cosines: its own, best first; terms: of the query."""
    return 0 < terms <= SURE_TERMS or (len(cosines) >= 10 and cosines[0] - cosines[9] >= SURE_LEAD)


def fuse(
    candidates: Sequence[Candidate], dense_share: float, sparse_ceiling: float, dense_floor: float = DENSE_FLOOR
) -> list[Fused]:
    """A convex combination of normalised scores, for each candidate in turn.

    A score counts from its arm's floor (0 for BM25, a constant of the model for the cosine) to its ceiling (what no
    chunk can exceed: `sparse_ceiling` of this query, and 1), so that scores of two queries compare. Who has no cosine
    gets its floor (to fetch it changed NDCG@10 by -.004 to .000), and who has no BM25 score a little less than the last
    of a full arm.
    """
    scores = [candidate.sparse for candidate in candidates if candidate.sparse is not None]
    lacking = LACKING_SHARE * min(scores) if len(scores) >= FULL_ARM else 0.0
    fused = []
    for candidate in candidates:
        dense = _normalised(candidate.dense, dense_floor, 1.0)
        sparse = _normalised(lacking if candidate.sparse is None else candidate.sparse, 0.0, sparse_ceiling)
        fused.append(Fused(dense, sparse, dense_share * dense + (1 - dense_share) * sparse))
    return fused


def convex(
    candidates: Sequence[Candidate], dense_share: float, sparse_ceiling: float, dense_floor: float = DENSE_FLOOR
) -> list[Ranked]:
    """The candidates by their fused scores alone, best first; what lies below the dense floor by its cosine."""
    fused = fuse(candidates, dense_share, sparse_ceiling, dense_floor)
    ties_by_place = in_order([one.score for one in fused], candidates)
    order = sorted(ties_by_place, key=lambda i: (-fused[i].score, -(candidates[i].dense or 0.0)))
    return [Ranked(candidates[i], fused[i].score, {**candidates[i].ranks, **fused[i].parts}) for i in order]


def in_order(scores: Sequence[float], candidates: Sequence[Candidate]) -> Iterator[int]:
    """The numbers of the candidates, best first; equal scores in the order of files.

    Stores give equal ones by how they were filled, which a restore is anew.
    """
    by_score = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
    for _, tied in groupby(by_score, key=scores.__getitem__):
        yield from sorted(tied, key=lambda i: place(candidates[i].chunk))


def best_first(ranked: Sequence[Ranked]) -> list[Ranked]:
    """By score; equal ones in the order of files."""
    return [ranked[i] for i in in_order([one.score for one in ranked], [one.candidate for one in ranked])]


def place(chunk: Chunk) -> tuple[str, str, int, str]:
    """Where a chunk stands among all."""
    return chunk.repository, chunk.span.path, chunk.span.start_line, chunk.id


def _normalised(score: float | None, floor: float, ceiling: float) -> float:
    if score is None or ceiling <= floor:
        return 0.0
    return min(1.0, max(0.0, (score - floor) / (ceiling - floor)))
