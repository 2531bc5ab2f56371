"""What the gateway counts: requests by model and outcome, times, tokens."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram

from llm_service.core.errors import ClientLeft
from service_kit.errors import ServiceError

# From a cached answer to a long generated one.
_BUCKETS_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

# Callers choose the name of a model, so names become labels only after an answer, and only so many.
MAX_MODEL_LABELS = 50
OTHER = "other"


@dataclass(slots=True)
class Observation:
    """One request. The service sets `model` when it knows it and `outcome` where a begun stream fails."""

    model: str
    started: float
    outcome: str = "ok"
    first_byte: float | None = None

    def begin(self) -> None:
        """The first byte is here."""
        self.first_byte = time.perf_counter()


class ChatMetrics:
    """Counts into the registry of one app."""

    def __init__(self, registry: CollectorRegistry):
        """registry: the app's own."""
        self._names: set[str] = set()
        self.requests = Counter(
            "llm_requests_total", "Chat requests by outcome.", ["model", "outcome"], registry=registry
        )
        self.first_bytes = Histogram(
            "llm_time_to_first_byte_seconds",
            "From the request to the upstream's first byte.",
            ["model"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.durations = Histogram(
            "llm_duration_seconds", "From the request to its end.", ["model"], buckets=_BUCKETS_S, registry=registry
        )
        self.tokens = Counter("llm_tokens_total", "Tokens, where told.", ["model", "kind"], registry=registry)
        self.retries = Counter("llm_retries_total", "Attempts after the first.", registry=registry)

    @contextmanager
    def observe(self, model: str) -> Iterator[Observation]:
        """Time what happens inside; its outcome is "ok", a word of the error table or "client_left"."""
        observation = Observation(model, time.perf_counter())
        try:
            yield observation
        except ServiceError as exc:
            observation.outcome = exc.code
            raise
        except (asyncio.CancelledError, GeneratorExit, ClientLeft):
            observation.outcome = "client_left"
            raise
        except BaseException:
            observation.outcome = "internal"
            raise
        finally:
            self._record(observation)

    def count_tokens(self, model: str, tokens: Mapping[str, int]) -> None:
        """tokens: number by kind, "prompt" and "completion"."""
        for kind, count in tokens.items():
            self.tokens.labels(self._label(model, has_answered=True), kind).inc(count)

    def _record(self, observation: Observation) -> None:
        label = self._label(observation.model, has_answered=observation.first_byte is not None)
        self.requests.labels(label, observation.outcome).inc()
        self.durations.labels(label).observe(time.perf_counter() - observation.started)
        if observation.first_byte is not None:
            self.first_bytes.labels(label).observe(observation.first_byte - observation.started)

    def _label(self, model: str, *, has_answered: bool) -> str:
        if has_answered and len(self._names) < MAX_MODEL_LABELS:
            self._names.add(model)
        return model if model in self._names else OTHER
