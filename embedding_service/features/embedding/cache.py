"""Vectors of recent texts, so that a text that comes again is not computed again."""

from collections import OrderedDict

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge

from embedding_service.backends.base import TokenIds, Vectors

# Of an entry beside its key and its row: two objects and a place in the dictionary.
_ENTRY_BYTES = 300


class VectorCache:
    """Rows by the exact token ids that they are of; the least recently used go first. For one model only."""

    def __init__(self, max_bytes: int, registry: CollectorRegistry):
        """max_bytes: of keys and rows; 0 for no cache. registry: of the app's HttpMetrics."""
        self._max_bytes = max_bytes
        self._rows: OrderedDict[bytes, Vectors] = OrderedDict()
        self._bytes = 0
        self._identity = ""
        self._hits = Counter("embedding_cache_hits_total", "Texts found in the cache.", registry=registry)
        self._misses = Counter("embedding_cache_misses_total", "Texts not found in the cache.", registry=registry)
        self._size = Gauge("embedding_cache_bytes", "Bytes that the cache takes.", registry=registry)

    @staticmethod
    def key(ids: TokenIds) -> bytes:
        """What a sequence is found by: all of its ids, so that two sequences never share a row."""
        return np.asarray(ids, np.int32).tobytes()

    def get(self, key: bytes) -> Vectors | None:
        """The row (dim,) float32 of a key, or None. Callers must not write to it."""
        row = self._rows.get(key)
        if row is None:
            self._misses.inc()
            return None
        self._hits.inc()
        self._rows.move_to_end(key)
        return row

    def put(self, key: bytes, row: Vectors) -> None:
        """Keep a copy of a row (dim,), unless it is larger than the whole cache."""
        size = _size(key, row)
        if size > self._max_bytes or key in self._rows:
            return
        self._rows[key] = row.copy()  # the row is a view of its whole batch
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._bytes -= _size(*self._rows.popitem(last=False))
        self._size.set(self._bytes)

    def belong_to(self, identity: str) -> None:
        """Forget all where the rows are of another model: the folder may have changed before the engine's next life."""
        if identity != self._identity:
            self._identity = identity
            self._rows.clear()
            self._bytes = 0
            self._size.set(0)


def _size(key: bytes, row: Vectors) -> int:
    return len(key) + row.nbytes + _ENTRY_BYTES
