from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rag_app.db.embedding_cache import EmbeddingCache, text_hash


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[EmbeddingCache]:
    # Room for four vectors of 100 bytes: each counts 100 bytes more for its row.
    cache = EmbeddingCache(tmp_path / "cache.sqlite", max_bytes=800)
    cache.open()
    yield cache
    cache.close()


def test_a_vector_comes_back_bit_for_bit(cache: EmbeddingCache) -> None:
    vector = np.arange(25, dtype="<f4") / 7
    cache.put_many("m", {text_hash("a"): vector.tobytes()})
    found = cache.get_many("m", [text_hash("a"), text_hash("b"), text_hash("a")])
    assert list(found) == [text_hash("a")]
    assert np.array_equal(np.frombuffer(found[text_hash("a")], "<f4"), vector)


def test_vectors_of_two_models_never_meet(cache: EmbeddingCache) -> None:
    cache.put_many("m1", {text_hash("a"): b"1" * 8})
    assert cache.get_many("m2", [text_hash("a")]) == {}


def test_the_oldest_go_when_the_bound_is_reached(cache: EmbeddingCache) -> None:
    for name in "abcdef":
        cache.put_many("m", {text_hash(name): b"x" * 100})
    kept = [name for name in "abcdef" if cache.get_many("m", [text_hash(name)])]
    assert kept == ["c", "d", "e", "f"]


def test_what_is_known_already_is_counted_once(cache: EmbeddingCache) -> None:
    for _ in range(10):
        cache.put_many("m", {text_hash("a"): b"x" * 100, text_hash("b"): b"x" * 100})
    assert len(cache.get_many("m", [text_hash("a"), text_hash("b")])) == 2


def test_a_text_with_a_lone_surrogate_has_a_hash() -> None:
    assert len(text_hash("\ud800")) == 32
