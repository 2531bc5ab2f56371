"""BM25 in two halves: their dot product is the score that the textbook gives."""

import math
from collections import Counter

import pytest

from rag_app.core.bm25 import (
    AVERAGE_TERMS,
    document_vector,
    highest_score,
    inverse_document_frequency,
    query_vector,
    term_weights,
)
from rag_app.core.models import SparseVector
from rag_app.core.tokens import document_terms, query_terms, term_id, terms


def score(document: SparseVector, query: SparseVector) -> float:
    weights = dict(zip(document.indices, document.values, strict=True))
    return sum(weights.get(i, 0.0) * value for i, value in zip(query.indices, query.values, strict=True))


def textbook(text: str, query: str, corpus: list[str]) -> float:
    total, words = 0.0, Counter(terms(text))
    for term in query_terms(query):
        df = sum(term in terms(other) for other in corpus)
        idf = math.log(1 + (len(corpus) - df + 0.5) / (df + 0.5))
        tf = words[term]
        total += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * words.total() / AVERAGE_TERMS))
    return total


CORPUS = ["take the lock and close the pool", "release lock", "open a file", "close_pool(lock)"]


@pytest.mark.parametrize("query", ["close pool", "lock", "the lock of close_pool", "release"])
def test_the_dot_product_is_the_textbook_score(query: str) -> None:
    counts = [document_terms("", "", text) for text in CORPUS]
    frequencies = Counter(i for document in counts for i in document)
    asked = query_vector(query, frequencies, len(CORPUS))
    for text, document in zip(CORPUS, counts, strict=True):
        assert score(document_vector(document), asked) == pytest.approx(textbook(text, query, CORPUS), rel=1e-9)


def test_ids_ascend_as_qdrant_wants_them() -> None:
    vector = document_vector(document_terms("a/b.py", "X.y", "many words in no order at all"))
    assert list(vector.indices) == sorted(set(vector.indices))
    asked = query_vector("many words order", dict.fromkeys(vector.indices, 1), 10)
    assert list(asked.indices) == sorted(asked.indices)


def test_an_empty_chunk_has_an_empty_vector() -> None:
    assert document_vector({}) == SparseVector((), ())


def test_a_repeated_term_weighs_more_but_never_more_than_k1_plus_one() -> None:
    once, often = document_vector({1: 1}).values[0], document_vector({1: 10_000}).values[0]
    assert once < often < 2.2


def test_the_same_term_weighs_less_in_a_longer_chunk() -> None:
    short, long = document_vector({1: 1, 2: 10}), document_vector({1: 1, 2: 500})
    assert short.values[0] > long.values[0]


def test_a_term_that_no_chunk_has_is_not_asked_for_but_counts_in_the_mass() -> None:
    weights = term_weights("lock pancake", {term_id("lock"): 5}, 100)
    assert weights[term_id("pancak")] > weights[term_id("lock")]
    assert query_vector("lock pancake", {term_id("lock"): 5}, 100).indices == (term_id("lock"),)


def test_no_chunk_reaches_the_highest_score() -> None:
    weights = term_weights("lock pool", {term_id("lock"): 5}, 100)
    asked = SparseVector(tuple(weights), tuple(weights.values()))
    repeated = document_vector(dict.fromkeys(weights, 100_000))
    assert 0.95 * highest_score(weights) < score(repeated, asked) < highest_score(weights)


def test_idf_is_positive_even_where_every_chunk_has_the_term_and_where_the_table_is_behind() -> None:
    assert inverse_document_frequency(100, 100) > 0
    assert inverse_document_frequency(120, 100) > 0
    assert inverse_document_frequency(1, 100) > inverse_document_frequency(50, 100)


def test_a_query_over_nothing_is_empty() -> None:
    assert query_vector("lock", {}, 0) == SparseVector((), ())
