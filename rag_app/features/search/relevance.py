"""Whether a hit speaks to the query at all: what lets an answer say "nothing relevant was found"."""

from collections.abc import Mapping

from rag_app.core.models import Chunk, Hit
from rag_app.core.tokens import document_terms

# The best of ten hits by cosine + coverage / 2, all-MiniLM-L6-v2. Of 202 questions about eight packages, in words of
# the problem and not of the code, .36 lets .84 through; of 15 kinds of nonsense asked of each ("how do I cook rice")
# .08; of questions about another of the packages .43, which speak of code, too. At .5, where questions worded like the
# code all pass, .49 of these did: half of all users were turned away. By coverage alone, all that is left without
# embeddings, .3 lets .37, .05 and .10 through.
COVERAGE_SHARE = 0.5
RELEVANT_BOTH = 0.36
RELEVANT_COVERAGE = 0.3

# Of a query's runs of words, as many in one place are no chance.
RELEVANT_VERBATIM = 0.5


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
    if "name" in hit.scores or hit.scores.get("verbatim", 0.0) >= RELEVANT_VERBATIM:
        return True
    covered = hit.scores.get("sparse_share", 0.0)
    if "dense" not in hit.scores:
        return covered >= RELEVANT_COVERAGE
    return hit.scores["dense"] + COVERAGE_SHARE * covered >= RELEVANT_BOTH
