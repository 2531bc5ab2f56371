"""Whether a hit speaks to the query at all: what lets an answer say "nothing relevant was found"."""

from collections.abc import Mapping

from rag_app.core.models import Chunk, Hit
from rag_app.core.tokens import document_terms

RELEVANT_COSINE = 0.35
RELEVANT_COVERAGE = 0.5


def coverage(chunk: Chunk, weights: Mapping[int, float]) -> float:
    """The share of the query's IDF mass that the chunk's terms cover, in [0, 1].

    weights: term id -> IDF, those that no chunk has included.

    A word that no chunk has is heavy, so that nonsense covers little even where one word of it hits by chance.
    """
    mass = sum(weights.values())
    if not mass:
        return 0.0
    present = document_terms(chunk.span.path, chunk.qualified_name, chunk.text)
    return sum(weight for term, weight in weights.items() if term in present) / mass


def is_relevant(hit: Hit) -> bool:
    """Whether the hit's meaning or its words are near enough to the query to be quoted in answer to it."""
    if "name" in hit.scores:
        return True
    return hit.scores.get("dense", 0.0) >= RELEVANT_COSINE or hit.scores.get("sparse_share", 0.0) >= RELEVANT_COVERAGE
