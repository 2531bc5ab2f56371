"""The cache of recent vectors: exact, bounded by bytes, counted, and of one model only."""

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from embedding_service.features.embedding.cache import VectorCache

ROW = np.ones(4, np.float32)
KEY = VectorCache.key([101, 7, 102])


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_what_was_put_is_found_by_the_same_ids_only(registry: CollectorRegistry) -> None:
    cache = VectorCache(10_000, registry)
    cache.put(KEY, ROW)
    found = cache.get(VectorCache.key([101, 7, 102]))
    assert found is not None
    assert found.tolist() == ROW.tolist()
    assert cache.get(VectorCache.key([101, 7])) is None
    assert registry.get_sample_value("embedding_cache_hits_total") == 1
    assert registry.get_sample_value("embedding_cache_misses_total") == 1


def test_it_stays_under_its_bytes_and_forgets_the_least_recently_used(registry: CollectorRegistry) -> None:
    cache = VectorCache(1_000, registry)  # three entries of 12 + 16 + 300 bytes
    keys = [VectorCache.key([101, number, 102]) for number in range(4)]
    for key in keys[:3]:
        cache.put(key, ROW)
    assert cache.get(keys[0]) is not None
    cache.put(keys[3], ROW)
    assert [cache.get(key) is not None for key in keys] == [True, False, True, True]
    assert registry.get_sample_value("embedding_cache_bytes") == 3 * 328


def test_a_row_does_not_keep_its_batch_alive(registry: CollectorRegistry) -> None:
    cache = VectorCache(10_000, registry)
    cache.put(KEY, np.ones((1000, 4), np.float32)[5])
    found = cache.get(KEY)
    assert found is not None
    assert found.base is None


def test_another_model_finds_nothing_of_the_first(registry: CollectorRegistry) -> None:
    cache = VectorCache(10_000, registry)
    cache.belong_to("one")
    cache.put(KEY, ROW)
    cache.belong_to("one")
    assert cache.get(KEY) is not None
    cache.belong_to("other")
    assert cache.get(KEY) is None
    assert registry.get_sample_value("embedding_cache_bytes") == 0


def test_no_bytes_are_no_cache(registry: CollectorRegistry) -> None:
    cache = VectorCache(0, registry)
    cache.put(KEY, ROW)
    assert cache.get(KEY) is None
