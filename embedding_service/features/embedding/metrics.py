"""TEI's metrics by TEI's names, so that its dashboards and alerts read this service too."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service_kit.metrics import DURATION_BUCKETS_S

_TOKEN_BUCKETS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class TeiMetrics:
    """What TEI counts. Durations in seconds."""

    def __init__(self, registry: CollectorRegistry):
        """registry: of the app's HttpMetrics."""

        def histogram(name: str, text: str, buckets: tuple[float, ...] = DURATION_BUCKETS_S) -> Histogram:
            return Histogram(name, text, buckets=buckets, registry=registry)

        # Gauges that only rise: prometheus_client would append _total to a counter, and TEI's names have none.
        self.requests = Gauge("te_request_count", "Requests to embed.", ["method"], registry=registry)
        self.successes = Gauge("te_request_success", "Requests answered.", ["method"], registry=registry)
        self.failures = Gauge("te_request_failure", "Requests refused or failed.", ["err"], registry=registry)
        self.embeds = Gauge("te_embed_count", "Texts to embed.", registry=registry)
        self.embedded = Gauge("te_embed_success", "Texts embedded.", registry=registry)
        self.queue_size = Gauge("te_queue_size", "Texts that wait for inference.", registry=registry)
        self.engine_ends = Counter("embedding_worker_ends_total", "Workers that ended unasked.", registry=registry)
        self.request_s = histogram("te_request_duration", "Whole request.")
        self.tokenization_s = histogram("te_request_tokenization_duration", "Tokenising a request.")
        self.queue_s = histogram("te_request_queue_duration", "Waiting for inference.")
        self.inference_s = histogram("te_request_inference_duration", "Inference of a request.")
        self.input_tokens = histogram("te_request_input_length", "Tokens of a text.", _TOKEN_BUCKETS)
        self.batch_size = histogram("te_batch_next_size", "Texts in one inference.", _SIZE_BUCKETS)
        self.batch_tokens = histogram("te_batch_next_tokens", "Tokens in one inference.", _TOKEN_BUCKETS)
