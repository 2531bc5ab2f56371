"""What one search has found out so far, and how long each part of it took."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rag_app.core.models import Filters, SparseVector
from rag_app.db.records import RefState
from rag_app.features.search.understanding import Understood
from rag_app.features.search.weights import Weights


@dataclass(slots=True)
class Run:
    """One search."""

    text: str
    ranking: Weights
    read: Understood
    filters: Filters | None  # the request's and the query's own; None where nothing can satisfy both
    is_kept: bool = False  # the repository's own weights are below the request's
    states: Sequence[RefState] = ()
    weights: Mapping[int, float] = field(default_factory=dict)
    dense: tuple[float, ...] | None = None
    sparse: SparseVector | None = None
    degraded: tuple[str, ...] = ()
    took_ms: dict[str, float] = field(default_factory=dict)

    @property
    def is_place_told(self) -> bool:
        """Whether paths were asked for, by the request or in the query."""
        return self.filters is not None and bool(self.filters.paths)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A block whose time counts as the part `name`, in ms."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.took_ms[name] = round((time.perf_counter() - started) * 1000, 2)
