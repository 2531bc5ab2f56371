"""What the gateway counts: by backend, model and outcome. Labels are names that the configuration or a backend gave."""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from types import TracebackType

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from llm_service.admission.door import Door
from llm_service.core.errors import ClientLeft
from llm_service.features.chat.usage import Usage
from llm_service.providers.base import Fault
from llm_service.providers.catalog import Member, Target
from service_kit.errors import ServiceError

# From a cached answer to a long generated one.
_BUCKETS_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

# A fast model gives 200 tokens a second, a large one on a laptop 2.
_TOKEN_BUCKETS_S = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 5.0, 20.0)

# The gateway's own part is some tenths of a millisecond; what is beyond 10 ms is a machine that is too busy.
_OVERHEAD_BUCKETS_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1)

# Passing on a piece takes 15 us.
_BLOCKED_S = 0.002

# Where a backend lists nothing, callers choose the name of a model: such names become labels only after an answer, and
# only so many.
MAX_MODEL_LABELS = 50
MAX_LABEL_CHARS = 200
OTHER = "other"
_KINDS = ("prompt", "completion", "cached")
NO_BACKEND = "none"


class _Series:
    """The children of all metrics for one backend and model, looked up once: each look-up takes 1 us."""

    __slots__ = ("durations", "first_tokens", "gaps", "ok", "overheads", "tokens")

    def __init__(self, metrics: "GatewayMetrics", labels: tuple[str, str]):
        self.ok = metrics.requests.labels(*labels, "ok")
        self.first_tokens = metrics.first_tokens.of(labels)
        self.gaps = metrics.gaps.of(labels)
        self.durations = metrics.durations.of(labels)
        self.overheads = metrics.overheads.of(labels)
        self.tokens = {kind: metrics.tokens.labels(*labels, kind) for kind in _KINDS}


class Observation:
    """One request, as a block. Whoever serves it notes what happens; the block's end is counted.

    elsewhere_s: seconds spent waiting for the backend, the queue or the client. outcome: "ok", a word of the error
    table or "client_left"; set where a stream that has begun fails.
    """

    __slots__ = ("_gaps", "_metrics", "asked", "elsewhere_s", "first_s", "outcome", "started", "target")

    def __init__(self, metrics: "GatewayMetrics", asked: str):
        """asked: the model's name in the request, "" for the default."""
        self._metrics = metrics
        self._gaps: list[float] = []
        self.asked = asked
        self.target: Target | None = None
        self.outcome = "ok"
        self.elsewhere_s = 0.0
        self.first_s: float | None = None
        self.started = 0.0

    def __enter__(self) -> "Observation":
        self.started = time.perf_counter()
        return self

    def aim(self, target: Target) -> None:
        """This one is asked now; another one may follow."""
        self.target = target

    def begin(self) -> None:
        """The first byte is here."""
        self.first_s = time.perf_counter() - self.started

    def waited(self, seconds: float) -> None:
        """So long was the silence of the backend before a further piece."""
        self.elsewhere_s += seconds
        self._gaps.append(seconds)

    def sent(self, seconds: float) -> None:
        """So long it took to pass on a piece; beyond what it can cost, it waited for the client."""
        if seconds > _BLOCKED_S:
            self.elsewhere_s += seconds

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ServiceError):
            self.outcome = error.code
        elif isinstance(error, asyncio.CancelledError | ClientLeft):
            self.outcome = "client_left"
        elif error is not None:
            self.outcome = "internal"
        self._metrics.record(self, self._gaps)


class GatewayMetrics:
    """Counts into the registry of one app."""

    def __init__(self, registry: CollectorRegistry):
        """registry: the app's own."""
        self._names: set[str] = set()
        self._series: dict[tuple[str, str], _Series] = {}
        by = ["backend", "model"]

        def histogram(name: str, text: str, bounds_s: Sequence[float]) -> Spread:
            spread = Spread(name, text, bounds_s)
            registry.register(spread)
            return spread

        self.requests = Counter("llm_requests_total", "Requests by outcome.", [*by, "outcome"], registry=registry)
        self.first_tokens = histogram(
            "llm_time_to_first_token_seconds", "From the request to the backend's first byte.", _BUCKETS_S
        )
        self.gaps = histogram("llm_time_between_tokens_seconds", "Between two pieces of a stream.", _TOKEN_BUCKETS_S)
        self.durations = histogram("llm_duration_seconds", "From the request to its end.", _BUCKETS_S)
        self.overheads = histogram(
            "llm_overhead_seconds", "The duration less all waiting: for the backend, the queue, the client.",
            _OVERHEAD_BUCKETS_S,
        )  # fmt: skip
        self.tokens = Counter(
            "llm_tokens_total", "Tokens, as the backends count them.", [*by, "kind"], registry=registry
        )
        self.retries = Counter(
            "llm_retries_total", "Attempts that another one followed, by what failed.", [*by, "fault"],
            registry=registry,
        )  # fmt: skip

    def observe(self, asked: str | None) -> Observation:
        """A block that is one request."""
        return Observation(self, asked or "")

    def count_tokens(self, target: Target, usage: Usage) -> None:
        """What a backend told."""
        tokens = self._series_of(target, has_answered=True).tokens
        tokens["prompt"].inc(usage.prompt)
        tokens["completion"].inc(usage.completion)
        if usage.cached:
            tokens["cached"].inc(usage.cached)

    def count_retry(self, target: Target, fault: Fault) -> None:
        """An attempt at this target failed, and another follows."""
        name = self._label(target.name, is_known=target.is_known)
        self.retries.labels(target.member.backend.name, name, fault).inc()

    def record(self, seen: Observation, gaps: Sequence[float]) -> None:
        """Count a request that has ended."""
        duration_s = time.perf_counter() - seen.started
        target = seen.target
        if target is None:
            self.requests.labels(NO_BACKEND, self._label(seen.asked, is_known=False), seen.outcome).inc()
            return
        series = self._series_of(target, has_answered=seen.first_s is not None)
        if seen.outcome == "ok":
            series.ok.inc()
        else:
            name = self._label(target.name, is_known=target.is_known)
            self.requests.labels(target.member.backend.name, name, seen.outcome).inc()
        if seen.first_s is not None:
            series.first_tokens.add([seen.first_s])
        if gaps:
            series.gaps.add(gaps)
        series.durations.add([duration_s])
        series.overheads.add([max(0.0, duration_s - seen.elsewhere_s)])

    def _series_of(self, target: Target, *, has_answered: bool) -> _Series:
        name = self._label(target.name, is_known=target.is_known, has_answered=has_answered)
        labels = target.member.backend.name, name
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series(self, labels)
        return series

    def _label(self, name: str, *, is_known: bool, has_answered: bool = False) -> str:
        if is_known or name in self._names:
            return name
        if not has_answered or len(self._names) >= MAX_MODEL_LABELS or len(name) > MAX_LABEL_CHARS:
            return OTHER
        self._names.add(name)
        return name


class _Counts:
    """How many durations were at most so long; the last count is of those beyond all bounds."""

    __slots__ = ("_bounds_s", "counts", "total_s")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.total_s = 0.0

    def add(self, durations_s: Sequence[float]) -> None:
        bounds_s, counts = self._bounds_s, self.counts
        for duration_s in durations_s:
            counts[bisect_left(bounds_s, duration_s)] += 1
        self.total_s += sum(durations_s)


class Spread(Collector):
    """A histogram by backend and model, of one event loop: a gap takes 0.2 us, where a Histogram with its locks 1.1."""

    def __init__(self, name: str, text: str, bounds_s: Sequence[float]):
        """Empty. bounds_s: rising, without infinity."""
        self._name, self._text, self._bounds_s = name, text, bounds_s
        self._series: dict[tuple[str, str], _Counts] = {}

    def of(self, labels: tuple[str, str]) -> _Counts:
        """The counts of a backend and a model."""
        return self._series.setdefault(labels, _Counts(self._bounds_s))

    def collect(self) -> Iterable[Metric]:
        """The histogram {backend, model}."""
        family = HistogramMetricFamily(self._name, self._text, labels=["backend", "model"])
        bounds = [*map(floatToGoString, self._bounds_s), "+Inf"]
        for labels, series in self._series.items():
            buckets = list(zip(bounds, map(float, accumulate(series.counts)), strict=True))
            family.add_metric(labels, buckets, series.total_s)
        yield family


class LiveState(Collector):
    """What is so at the moment of a scrape; costs nothing between scrapes."""

    def __init__(self, members: Callable[[], Sequence[Member]], door: Door):
        """Both are asked at each scrape."""
        self._members = members
        self._door = door

    def collect(self) -> Iterable[Metric]:
        """Gauges: requests in work and in the queue, and how many may be; by backend those in flight, its breaker."""
        door, members = self._door, self._members()
        yield GaugeMetricFamily("llm_requests_in_work", "Requests that are being served.", door.in_work)
        yield GaugeMetricFamily("llm_requests_in_work_limit", "Most that are served at once.", door.max_concurrent)
        yield GaugeMetricFamily("llm_requests_queued", "Requests that wait for a place.", door.waiting)
        yield GaugeMetricFamily("llm_requests_queued_limit", "Most that may wait.", door.max_queued)
        yield GaugeMetricFamily("llm_backends", "Backends that are configured.", len(members))
        in_flight = GaugeMetricFamily("llm_backend_in_flight", "Requests at a backend.", labels=["backend"])
        states = GaugeMetricFamily(
            "llm_breaker_state", "0: closed, 1: half-open, 2: open, 3: cooling after a 429.", labels=["backend"]
        )
        for member in members:
            in_flight.add_metric([member.backend.name], member.in_flight)
            states.add_metric([member.backend.name], member.breaker.state)
        yield in_flight
        yield states
