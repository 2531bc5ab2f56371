"""Where a search spends its time, and what it did without."""

from monitoring.dashboards.panels import Dashboard, Panel, Query, Row, Step
from monitoring.dashboards.promql import STEP, mean, or_zero, quantile, quantiles, rate

_WITHOUT_EMBEDDING = 'rag_degraded_total{dependency="embedding"}'
_PROMISE = (Step(None, "green"), Step(5.0, "red"))


def search() -> Dashboard:
    """Searches, those of answers included."""
    return Dashboard(
        "code-assistant-search",
        "Code Assistant: search",
        "Searches from the question to the hits, those of answers included.",
        (_searches(), _parts(), _embedding(), _store()),
    )


def _searches() -> Row:
    return Row(
        "Searches",
        (
            Panel(
                "Searches", "A second, by mode.", (Query(rate("rag_searches_total", "mode"), "{{mode}}"),), unit="reqps"
            ),
            Panel(
                "Outcomes other than ok",
                "`validation`, `not_found` and `client_left` are callers' doing; the others have an alert.",
                (Query(or_zero(rate('rag_searches_total{outcome!="ok"}', "outcome")), "{{outcome}}"),),
                unit="reqps",
            ),
            Panel(
                "Duration",
                "Of searches that succeeded. The line is the promise under load; the alert has half of it.",
                quantiles("rag_search_duration_seconds"),
                unit="s",
                steps=_PROMISE,
            ),
            Panel(
                "Duration by mode, p95",
                "Symbol and sparse need no embedding.",
                (Query(quantile(0.95, "rag_search_duration_seconds", "mode"), "{{mode}}"),),
                unit="s",
            ),
            Panel(
                "All durations",
                "Two bands are two kinds of search, or one that waits.",
                (Query(f"sum by (le) (rate(rag_search_duration_seconds_bucket[{STEP}]))", "{{le}}"),),
                unit="s",
                kind="heatmap",
            ),
            Panel(
                "Degraded share",
                "Searches that matched words only, since no vector was to be had.",
                (Query(f"{rate(_WITHOUT_EMBEDDING)} / {rate('rag_searches_total')}", "without embedding"),),
                unit="percentunit",
            ),
        ),
    )


def _parts() -> Row:
    return Row(
        "Parts",
        (
            Panel(
                "Mean time of each part",
                "Embedding and manifest run beside each other, so that the sum may be more than the whole.",
                (Query(mean("rag_search_part_seconds", "part"), "{{part}}"),),
                unit="s",
                width=12,
                is_stacked=True,
            ),
            Panel(
                "p95 of each part",
                "The part that grows is the one to look at: embedding and store are below.",
                (Query(quantile(0.95, "rag_search_part_seconds", "part"), "{{part}}"),),
                unit="s",
                width=12,
            ),
        ),
    )


def _embedding() -> Row:
    hits = rate("embedding_cache_hits_total")
    return Row(
        "Embedding",
        (
            Panel(
                "Requests to embed",
                "A second, and those refused or failed.",
                (Query(rate('http_requests_total{route="/embed"}', "status"), "{{status}}"),),
                unit="reqps",
            ),
            Panel("Time in the model", "Of a request.", quantiles("te_request_inference_duration"), unit="s"),
            Panel(
                "Time in the queue",
                "Of a request. It grows before the model does.",
                quantiles("te_request_queue_duration"),
                unit="s",
            ),
            Panel("Texts that wait", "For the model.", (Query("sum by (job) (te_queue_size)", "{{job}}"),)),
            Panel(
                "Texts in work, of those that may",
                "At 1 the next request is refused with 429.",
                (Query("max by (job) (embedding_texts_in_work / embedding_texts_in_work_limit)", "{{job}}"),),
                unit="percentunit",
                most=1.0,
                steps=(Step(None, "green"), Step(0.9, "red")),
            ),
            Panel(
                "Found in the cache",
                "Share of texts that needed no model.",
                (
                    Query(
                        f"{hits} / ({hits} + {rate('embedding_cache_misses_total')})",
                        "hits",
                    ),
                ),
                unit="percentunit",
                most=1.0,
            ),
        ),
    )


def _store() -> Row:
    # The second names are a Qdrant server's own.
    queries = 'route=~".*/points/(query|search).*"'
    qdrant = 'endpoint=~".*/points/(query|search).*"'
    ours, theirs = f"http_requests_total{{{queries}}}", f"rest_responses_total{{{qdrant}}}"
    return Row(
        "Vector store",
        (
            Panel(
                "Searches in the store",
                "A batch of queries, its wait for a thread included.",
                tuple(
                    Query(
                        f"({quantile(q, 'vector_db_search_duration_seconds')}) or "
                        f"({quantile(q, 'rest_responses_duration_seconds', labels=qdrant)})",
                        f"p{q * 100:g}",
                    )
                    for q in (0.5, 0.95, 0.99)
                ),
                unit="s",
            ),
            Panel(
                "Queries to the store",
                "By HTTP status.",
                (Query(f"({rate(ours, 'status')}) or ({rate(theirs, 'status')})", "{{status}}"),),
                unit="reqps",
            ),
            Panel(
                "Reads in hand",
                "Those that wait for a thread included. vector_db only.",
                (Query("sum(vector_db_reads)", "reads"),),
            ),
        ),
    )
