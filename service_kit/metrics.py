"""Prometheus metrics of one app, in a registry of its own, so that two apps in one process never collide."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.types import Scope

from service_kit.scrape import ScrapeQuestions

# From a cached query (1 ms) to a long generated answer (60 s).
DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


def route_of(scope: Scope) -> str:
    """The template of a request's route, "unmatched" where it has none: a raw path may hold anything."""
    path: str = getattr(scope.get("route"), "path", "unmatched")
    return path


class HttpMetrics:
    """Requests, durations and errors by route; services add their own metrics to `registry`.

    questions: what has to be asked for before each scrape.
    """

    def __init__(self, service: str):
        """service: becomes the constant label of `service_info`."""
        self.registry = CollectorRegistry()
        self.questions = ScrapeQuestions()
        # Looking up a child by its labels takes 1 us, and each request needs two. As many as there are children.
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = Counter(
            "http_requests_total", "Requests served.", ["method", "route", "status"], registry=self.registry
        )
        self.durations = Histogram(
            "http_request_duration_seconds",
            "From the first byte in to the last byte out.",
            ["method", "route"],
            buckets=DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self.errors = Counter(
            "errors_total", "Failures by the word of the error table.", ["code"], registry=self.registry
        )
        self.in_flight = 0  # read at a scrape: a Gauge that is told of each takes 1 us, with its lock
        Gauge("http_requests_in_flight", "Requests being served.", registry=self.registry).set_function(
            lambda: self.in_flight
        )
        Gauge("service_info", "Always 1.", ["service"], registry=self.registry).labels(service).set(1)

    def count(self, method: str, route: str, status: int, duration_s: float) -> None:
        """A request was served. route: its template, never a raw path."""
        key = method, route, status
        series = self._series.get(key)
        if series is None:
            requests = self.requests.labels(method, route, str(status))
            series = self._series[key] = requests, self.durations.labels(method, route)
        series[0].inc()
        series[1].observe(duration_s)

    def expose(self) -> tuple[bytes, str]:
        """The whole registry as (body, content type)."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
