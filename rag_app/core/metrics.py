"""What the product counts of searches and answers. Labels are words of this program: no query, path or user's name."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

from rag_app.core.models import SearchMode
from service_kit.errors import ServiceError
from service_kit.metrics import DURATION_BUCKETS_S

Request = Literal["ask", "generate"]
Kind = Literal["generative", "extractive", "abstained", "code"]

OK = "ok"
# Of an answer that was not given, nobody can say of what kind it would have been.
NO_KIND = "none"

# What an answer may have to do without.
DEPENDENCIES = ("embedding", "llm", "reranker")


def outcome_of(error: BaseException) -> str:
    """The word for how something failed: of the error table, "client_left" or "internal"."""
    if isinstance(error, ServiceError):
        return error.code
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "client_left"
    return "internal"


class RagMetrics:
    """Counts into the registry of one app."""

    def __init__(self, registry: CollectorRegistry | None = None):
        """registry: the app's own; None: nobody looks."""

        def histogram(name: str, text: str, labels: list[str]) -> Histogram:
            return Histogram(name, text, labels, buckets=DURATION_BUCKETS_S, registry=registry)

        self.searches = Counter(
            "rag_searches_total", "Searches, those of answers included.", ["mode", "outcome"], registry=registry
        )
        self.search_durations = histogram("rag_search_duration_seconds", "Of searches that succeeded.", ["mode"])
        self.search_parts = histogram(
            "rag_search_part_seconds", "Parts of a search: manifest, embedding, index, rank, fetch, rerank.", ["part"]
        )
        self.degraded = Counter(
            "rag_degraded_total", "Searches and answers that did without a dependency.", ["dependency"],
            registry=registry,
        )  # fmt: skip
        self.answers = Counter(
            "rag_answers_total", "Answers and generated code.", ["request", "kind", "outcome"], registry=registry
        )
        self.answer_durations = histogram(
            "rag_answer_duration_seconds", "Of answers that were given, their search included.", ["request", "kind"]
        )
        self.first_tokens = histogram(
            "rag_time_to_first_token_seconds",
            "From the question to the first words of a model's stream, the search included.",
            ["request"],
        )
        # A counter that appears with its first count has no increase: rate() would miss the first one.
        for dependency in DEPENDENCIES:
            self.degraded.labels(dependency)
        for mode in ("hybrid", "dense", "sparse", "symbol"):
            self.searches.labels(mode, OK)

    @contextmanager
    def search(self, mode: SearchMode) -> Iterator[None]:
        """A block that is one search. Its failure is counted; a success is told by searched()."""
        try:
            yield
        except BaseException as exc:
            self.searches.labels(mode, outcome_of(exc)).inc()
            raise

    def searched(self, mode: SearchMode, took_ms: Mapping[str, float], degraded: tuple[str, ...]) -> None:
        """A search succeeded. took_ms: by part, and the "total"."""
        self.searches.labels(mode, OK).inc()
        for part, ms in took_ms.items():
            if part == "total":
                self.search_durations.labels(mode).observe(ms / 1e3)
            else:
                self.search_parts.labels(part).observe(ms / 1e3)
        for dependency in degraded:
            self.degraded.labels(dependency).inc()

    def answer(self, request: Request) -> "AnswerInWork":
        """The clock of one request starts."""
        return AnswerInWork(self, request)


class AnswerInWork:
    """One answer, from its request to its end, which is counted once."""

    def __init__(self, metrics: RagMetrics, request: Request):
        """Starts the clock."""
        self._metrics = metrics
        self._request = request
        self._started = time.perf_counter()
        self._has_begun = False
        self._is_over = False

    @contextmanager
    def failing(self) -> Iterator[None]:
        """A block whose failure is the answer's. A stream has two: until it begins, and while it goes on."""
        try:
            yield
        except BaseException as exc:
            self._end(NO_KIND, outcome_of(exc))
            raise

    def begin(self) -> None:
        """A piece of a model's stream is here; only the first one counts."""
        if not self._has_begun:
            self._has_begun = True
            self._metrics.first_tokens.labels(self._request).observe(time.perf_counter() - self._started)

    def end(self, kind: Kind, *, is_without_model: bool = False) -> None:
        """The answer is whole. is_without_model: a model was asked for it in vain."""
        if self._end(kind, OK):
            self._metrics.answer_durations.labels(self._request, kind).observe(time.perf_counter() - self._started)
            if is_without_model:
                self._metrics.degraded.labels("llm").inc()

    def _end(self, kind: str, outcome: str) -> bool:
        if self._is_over:
            return False
        self._is_over = True
        self._metrics.answers.labels(self._request, kind, outcome).inc()
        return True
