"""The gateway and its backends: who answers, how fast, and what fails."""

from monitoring.dashboards.panels import Dashboard, Panel, Query, Row, Step
from monitoring.dashboards.promql import mean, or_zero, quantile, rate


def llm() -> Dashboard:
    """Answers, the gateway, its backends."""
    return Dashboard(
        "code-assistant-llm",
        "Code Assistant: language model",
        "From the question to the last token.",
        (_answers(), _gateway(), _backends()),
    )


def _answers() -> Row:
    first = "rag_time_to_first_token_seconds"
    return Row(
        "Answers",
        (
            Panel(
                "Answers by kind",
                "Extracts where a model was to write: it did not answer.",
                (Query(rate('rag_answers_total{outcome="ok"}', "request, kind"), "{{request}} {{kind}}"),),
                unit="ops",
                is_stacked=True,
            ),
            Panel(
                "Answers that failed",
                "By the word of the error table.",
                (
                    Query(
                        or_zero(rate('rag_answers_total{outcome!="ok"}', "request, outcome")), "{{request}} {{outcome}}"
                    ),
                ),
                unit="ops",
            ),
            Panel(
                "Answers without a model",
                "A model was asked in vain, and the passages were shown instead.",
                (Query(rate('rag_degraded_total{dependency="llm"}'), "without llm"),),
                unit="ops",
            ),
            Panel(
                "First words",
                "From the question to the first words of a stream, the search included.",
                (
                    Query(quantile(0.5, first), "p50"),
                    Query(quantile(0.95, first), "p95"),
                ),
                unit="s",
            ),
            Panel(
                "Whole answers, p95",
                "The line is the promise.",
                (Query(quantile(0.95, "rag_answer_duration_seconds", "request, kind"), "{{request}} {{kind}}"),),
                unit="s",
                steps=(Step(None, "green"), Step(60.0, "red")),
            ),
        ),
    )


def _gateway() -> Row:
    return Row(
        "Gateway",
        (
            Panel(
                "Requests",
                "By outcome.",
                (Query(rate("llm_requests_total", "outcome"), "{{outcome}}"),),
                unit="reqps",
                is_stacked=True,
            ),
            Panel(
                "In work",
                "Beyond the limit they queue.",
                (
                    Query("sum(llm_requests_in_work)", "in work"),
                    Query("sum(llm_requests_in_work_limit)", "limit"),
                ),
            ),
            Panel(
                "In the queue",
                "Beyond the limit they are refused with 429.",
                (
                    Query("sum(llm_requests_queued)", "waiting"),
                    Query("sum(llm_requests_queued_limit)", "limit"),
                ),
            ),
            Panel(
                "The gateway's own time",
                "The duration less all waiting; tenths of a millisecond.",
                (
                    Query(quantile(0.5, "llm_overhead_seconds"), "p50"),
                    Query(quantile(0.95, "llm_overhead_seconds"), "p95"),
                ),
                unit="s",
            ),
            Panel(
                "Tokens",
                "A second, as the backends count them.",
                (Query(rate("llm_tokens_total", "kind"), "{{kind}}"),),
                unit="tokens",
            ),
            Panel(
                "Attempts again",
                "By what failed.",
                (Query(or_zero(rate("llm_retries_total", "backend, fault")), "{{backend}} {{fault}}"),),
                unit="ops",
            ),
        ),
    )


def _backends() -> Row:
    return Row(
        "Backends",
        (
            Panel(
                "Breaker",
                "Open: the backend failed too often and is let alone for a while.",
                (Query("max by (backend) (llm_breaker_state)", "{{backend}}"),),
                kind="state-timeline",
                width=12,
                height=6,
                steps=(Step(None, "green"), Step(1.0, "yellow"), Step(2.0, "red"), Step(3.0, "orange")),
                texts=((0.0, "closed"), (1.0, "half open"), (2.0, "open"), (3.0, "cooling")),
            ),
            Panel(
                "Requests by backend",
                "And how they ended.",
                (Query(rate("llm_requests_total", "backend, outcome"), "{{backend}} {{outcome}}"),),
                unit="reqps",
                width=12,
                height=6,
            ),
            Panel(
                "First byte, p95",
                "Of the backend.",
                (Query(quantile(0.95, "llm_time_to_first_token_seconds", "backend, model"), "{{backend}} {{model}}"),),
                unit="s",
            ),
            Panel(
                "Between tokens, p95",
                "What a reader sees as halting.",
                (Query(quantile(0.95, "llm_time_between_tokens_seconds", "backend, model"), "{{backend}} {{model}}"),),
                unit="s",
            ),
            Panel(
                "Whole requests, mean",
                "With streams, their whole length.",
                (Query(mean("llm_duration_seconds", "backend, model"), "{{backend}} {{model}}"),),
                unit="s",
            ),
            Panel("In flight", "At each backend.", (Query("sum by (backend) (llm_backend_in_flight)", "{{backend}}"),)),
        ),
    )
