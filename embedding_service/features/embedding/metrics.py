"""TEI's metrics by TEI's names, so that its dashboards and alerts read this service too."""

from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service_kit.metrics import DURATION_BUCKETS_S

_TOKEN_BUCKETS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Spent(Protocol):
    """What a request took; durations in seconds."""

    @property
    def tokens(self) -> int:
        """Special ones included."""
        ...

    @property
    def characters(self) -> int:
        """Of all texts; of token ids their number."""
        ...

    @property
    def tokenization_s(self) -> float:
        """From the start to the token ids."""
        ...

    @property
    def queue_s(self) -> float:
        """Until the first inference."""
        ...

    @property
    def inference_s(self) -> float:
        """Of all its inferences."""
        ...

    @property
    def total_s(self) -> float:
        """The whole."""
        ...


class Durations:
    """The four durations that TEI has of requests, of embeddings and of predictions."""

    def __init__(self, prefix: str, of: str, registry: CollectorRegistry):
        """prefix: as in te_request_duration. of: what they are durations of, for /metrics."""

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"{prefix}_{name}", f"{of}: {text}.", buckets=DURATION_BUCKETS_S, registry=registry)

        self._total_s = histogram("duration", "the whole")
        self._tokenization_s = histogram("tokenization_duration", "tokenising")
        self._queue_s = histogram("queue_duration", "waiting for inference")
        self._inference_s = histogram("inference_duration", "inference")

    def observe(self, spent: Spent) -> None:
        """Once a request: TEI observes te_embed_* and te_predict_* once a text, each with the request's share."""
        self._total_s.observe(spent.total_s)
        self._tokenization_s.observe(spent.tokenization_s)
        self._queue_s.observe(spent.queue_s)
        self._inference_s.observe(spent.inference_s)


class TaskMetrics:
    """te_embed_* or te_predict_*: texts asked for and answered, and the durations of their requests."""

    def __init__(self, prefix: str, of: str, registry: CollectorRegistry):
        """prefix: te_embed or te_predict."""
        # Gauges that only rise: prometheus_client would append _total to a counter, and TEI's names have none.
        self.count = Gauge(f"{prefix}_count", f"Texts to {of}.", registry=registry)
        self.success = Gauge(f"{prefix}_success", f"Texts to {of} that were answered.", registry=registry)
        self.durations = Durations(prefix, f"Requests to {of}", registry)


class TeiMetrics:
    """What TEI counts. Durations in seconds."""

    def __init__(self, registry: CollectorRegistry):
        """registry: of the app's HttpMetrics."""

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, buckets=buckets, registry=registry)

        self.requests = Gauge("te_request_count", "Requests.", ["method"], registry=registry)
        self.successes = Gauge("te_request_success", "Requests answered.", ["method"], registry=registry)
        self.failures = Gauge("te_request_failure", "Requests refused or failed.", ["err"], registry=registry)
        self.embed = TaskMetrics("te_embed", "embed", registry)
        self.predict = TaskMetrics("te_predict", "predict", registry)
        self.queue_size = Gauge("te_queue_size", "Texts that wait for inference.", registry=registry)
        self.in_work = Gauge("embedding_texts_in_work", "Texts in work or waiting, of all requests.", registry=registry)
        self.in_work_limit = Gauge("embedding_texts_in_work_limit", "Most of them at once.", registry=registry)
        self.engine_ends = Counter("embedding_worker_ends_total", "Workers that ended unasked.", registry=registry)
        self.durations = Durations("te_request", "Requests", registry)
        self.input_tokens = histogram("te_request_input_length", "Tokens of a text.", _TOKEN_BUCKETS)
        self.batch_size = histogram("te_batch_next_size", "Texts in one inference.", _SIZE_BUCKETS)
        self.batch_tokens = histogram("te_batch_next_tokens", "Tokens in one inference.", _TOKEN_BUCKETS)

    def observe(self, spent: Spent, task: TaskMetrics) -> None:
        """A request that was answered, by its task."""
        self.durations.observe(spent)
        task.durations.observe(spent)
