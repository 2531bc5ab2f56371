"""BM25 in two halves whose dot product is the score: term frequency with the document, IDF with the query.

IDF is not stored because it depends on which repositories are searched: a repository that one caller may not see must
not move (or tell of itself through) another caller's ranking.
"""

import math
from collections.abc import Mapping

from rag_app.core.models import SparseVector
from rag_app.core.tokens import query_terms, term_id

# Robertson and Zaragoza 2009: the usual values for k1 and b.
K1 = 1.2
B = 0.75

# Terms in an average chunk. A constant, not the mean of the index: a mean would move with every sync, and the weights
# of the chunks already stored would be wrong. Chunks fit a window of 256 tokens, which bounds how far off it can be.
# 60, 84, 120 and 180 gave NDCG@10 of .492, .492, .485, .479 on docstrings and .377, .372, .361, .351 on web queries.
AVERAGE_TERMS = 100.0


def document_vector(counts: Mapping[int, int]) -> SparseVector:
    """The term-frequency half of BM25. counts: term id -> count in the chunk; weights lie in (0, K1 + 1)."""
    length = sum(counts.values())
    pressure = K1 * (1 - B + B * length / AVERAGE_TERMS)
    indices = tuple(sorted(counts))
    return SparseVector(indices, tuple(counts[i] * (K1 + 1) / (counts[i] + pressure) for i in indices))


def inverse_document_frequency(frequency: int, documents: int) -> float:
    """ln(1 + (N - df + .5) / (df + .5)): positive for every df up to N, and greatest for a term that no chunk has."""
    return math.log(1 + (max(documents - frequency, 0) + 0.5) / (frequency + 0.5))


def term_weights(text: str, frequencies: Mapping[int, int], documents: int) -> dict[int, float]:
    """Term id -> IDF for every term of a query, those that no chunk has included: what coverage is a share of.

    frequencies: term id -> number of chunks with it, over the repositories searched; documents: chunks in all.
    """
    ids = {term_id(term) for term in query_terms(text)}
    return {i: inverse_document_frequency(frequencies.get(i, 0), documents) for i in sorted(ids)}


def highest_score(weights: Mapping[int, float]) -> float:
    """What no chunk's score reaches: every term of the query, each repeated without end. weights: of term_weights."""
    return (K1 + 1) * sum(weights.values())


def query_vector(text: str, frequencies: Mapping[int, int], documents: int) -> SparseVector:
    """The IDF half of BM25, for the terms of a query that some chunk has; empty where there are none.

    A term counts once however often the query repeats it: questions repeat words for grammar, not for weight.
    """
    weights = term_weights(text, frequencies, documents)
    indices = tuple(i for i in weights if frequencies.get(i, 0) > 0)
    return SparseVector(indices, tuple(weights[i] for i in indices))
