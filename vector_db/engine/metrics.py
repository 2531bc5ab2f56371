"""What vector_db tells of its store. Names of collections are labels: rag_app makes one a schema version."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, Histogram

from service_kit.errors import ServiceError
from service_kit.metrics import DURATION_BUCKETS_S

if TYPE_CHECKING:
    from vector_db.engine.database import Database

# Callers name collections: so many are told, the others as one.
MAX_COLLECTION_LABELS = 20
OTHER = "other"


class StoreMetrics:
    """Collections, points, queues, and how long searches take."""

    def __init__(self, database: "Database", registry: CollectorRegistry):
        """registry: the app's own."""
        self._database = database
        self._collections = Gauge("vector_db_collections", "Collections.", registry=registry)
        self._points = Gauge("vector_db_points", "Points by collection.", ["collection"], registry=registry)
        reads = Gauge("vector_db_reads", "Reads in hand, those that wait for a thread included.", registry=registry)
        reads.set_function(lambda: database.reads)
        waiting = Gauge("vector_db_writes_waiting", "Writes that wait for the writer.", registry=registry)
        waiting.set_function(lambda: database.writes_waiting)
        self._searches = Histogram(
            "vector_db_search_duration_seconds", "Of a batch of queries, its wait for a thread included.",
            buckets=DURATION_BUCKETS_S, registry=registry,
        )  # fmt: skip

    async def ask(self) -> None:
        """Count points, in a reader's thread: a search that takes long is waited for there, as by other reads."""
        found = await self._database.read(self._counted)
        names = sorted(found)
        self._collections.set(len(names))
        self._points.clear()
        for name in names[:MAX_COLLECTION_LABELS]:
            self._points.labels(name).set(found[name])
        if rest := names[MAX_COLLECTION_LABELS:]:
            self._points.labels(OTHER).set(sum(found[name] for name in rest))

    @contextmanager
    def search(self) -> Iterator[None]:
        """A block that is one search; where it fails nothing is told of its duration."""
        started = perf_counter()
        yield
        self._searches.observe(perf_counter() - started)

    def _counted(self) -> dict[str, int]:
        counts = {}
        for name in self._database.store.names:
            try:
                counts[name] = self._database.store.resolve(name).figures().points
            except ServiceError:  # deleted since its name was read
                continue
        return counts
