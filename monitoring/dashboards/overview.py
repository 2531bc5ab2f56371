"""Is the promise kept, and if not: which part of the house to look at."""

from monitoring.dashboards.objectives import OBJECTIVES, PERIOD
from monitoring.dashboards.panels import Dashboard, Panel, Query, Row, Step
from monitoring.dashboards.promql import objective, or_zero, quantile, rate

_WINDOWS = ("5m", "1h", "6h")

_BUDGET = (Step(None, "red"), Step(0.0, "orange"), Step(0.25, "green"))


def overview() -> Dashboard:
    """The first page."""
    return Dashboard(
        "code-assistant-overview",
        "Code Assistant: overview",
        "The service's objectives first, then what its parts do now.",
        (_objectives(), _now(), _index()),
    )


def _objectives() -> Row:
    kept = tuple(
        Panel(
            promise.name,
            f"Share in {PERIOD}; the objective is {promise.target:.1%}.",
            (Query(promise.kept()),),
            unit="percentunit",
            kind="stat",
            width=6,
            height=4,
            steps=(Step(None, "red"), Step(promise.target, "green")),
        )
        for promise in OBJECTIVES
    )
    budget = Panel(
        "Error budget left",
        f"Of what may go wrong in {PERIOD}, the part that has not yet. Below 0 the objective is missed.",
        tuple(Query(promise.budget_left(), promise.name) for promise in OBJECTIVES),
        unit="percentunit",
        kind="bargauge",
        width=12,
        steps=_BUDGET,
        most=1.0,
    )
    burn = Panel(
        "Budget burn",
        "1 uses the budget up in just a month, 14 in two days. High over 5 min alone is a hiccup, over 1 h a fault.",
        tuple(
            Query(promise.burn(window), f"{promise.name}, {window}") for promise in OBJECTIVES for window in _WINDOWS
        ),
        unit="burn",
        width=12,
        steps=(Step(None, "green"), Step(1.0, "orange"), Step(14.4, "red")),
    )
    return Row("Objectives", (*kept, budget, burn))


def _now() -> Row:
    return Row(
        "Now",
        (
            Panel(
                "Up",
                "Whether Prometheus reaches it. Down: see the alert's section in docs/operations.md.",
                (Query("min by (job) (up)", "{{job}}"),),
                kind="state-timeline",
                width=12,
                height=6,
                steps=(Step(None, "red"), Step(1.0, "green")),
                texts=((0.0, "down"), (1.0, "up")),
            ),
            Panel(
                "Ready",
                "Whether it says that it can serve. Not ready: the check that fails is under Checks, Search and LLM.",
                (Query("min by (job) (service_ready)", "{{job}}"),),
                kind="state-timeline",
                width=12,
                height=6,
                steps=(Step(None, "red"), Step(1.0, "green")),
                texts=((0.0, "not ready"), (1.0, "ready")),
            ),
            Panel(
                "Checks that fail",
                "What a service lacks, by its own word; not all are required. Empty is good, so 0 stands for none.",
                (Query(or_zero("count by (job, check) (service_check_ok == 0)"), "{{job}} {{check}}"),),
                height=7,
            ),
            Panel(
                "Alerts that fire",
                "Each has a section in docs/operations.md.",
                (Query(or_zero('count by (alertname) (ALERTS{alertstate="firing"})'), "{{alertname}}"),),
                height=7,
            ),
            Panel(
                "Failures",
                "By the word of the error table; `validation` and `not_found` are callers' own.",
                (Query(rate("errors_total", "job, code"), "{{job}} {{code}}"),),
                unit="ops",
                height=7,
            ),
            Panel(
                "Requests",
                "Of each service, probes and scrapes included.",
                (Query(rate("http_requests_total", "job"), "{{job}}"),),
                unit="reqps",
            ),
            Panel(
                "Searches, p95",
                "Over the objective an alert fires; which part is slow is on the dashboard Search.",
                (
                    Query(quantile(0.95, "rag_search_duration_seconds", "mode"), "{{mode}}"),
                    objective("rag:objective:search_p95_seconds"),
                ),
                unit="s",
            ),
            Panel(
                "First words of an answer, p95",
                "From the question, the search included.",
                (
                    Query(quantile(0.95, "rag_time_to_first_token_seconds", "request"), "{{request}}"),
                    objective("rag:objective:first_token_p95_seconds"),
                ),
                unit="s",
            ),
            Panel(
                "Degraded",
                "The share of searches that did without the embedding service, and of answers without a model.",
                (
                    Query("rag:degraded:ratio_rate5m", "without {{dependency}}"),
                    objective("rag:objective:degraded_ratio"),
                ),
                unit="percentunit",
            ),
            Panel(
                "Answers",
                "By what they were: written by the model, extracts, abstained, code; `none` failed.",
                (Query(rate("rag_answers_total", "request, kind, outcome"), "{{request}} {{kind}} {{outcome}}"),),
                unit="ops",
                is_stacked=True,
            ),
            Panel(
                "Server errors",
                "Answers of 500 and more, as a share of all; probes are left out.",
                (
                    Query("service:errors:ratio_rate5m", "{{job}}"),
                    objective("service:objective:error_ratio"),
                ),
                unit="percentunit",
            ),
        ),
    )


def _index() -> Row:
    return Row(
        "What is indexed",
        (
            Panel(
                "Chunks",
                "In the index, by the manifest.",
                (Query("max(rag_index_chunks)"),),
                kind="stat",
                width=6,
                height=4,
            ),
            Panel(
                "Repositories",
                "By state.",
                (Query("max by (state) (rag_repositories)", "{{state}}"),),
                kind="stat",
                width=6,
                height=4,
            ),
            Panel(
                "Oldest index",
                "Since the last success of the repository that had none for longest.",
                (Query("rag:index_age_seconds"),),
                unit="s",
                kind="stat",
                width=6,
                height=4,
            ),
            Panel(
                "Last backup",
                "How long ago the last one succeeded. Half a century: there never was one.",
                (Query("rag:backup_age_seconds"),),
                unit="s",
                kind="stat",
                width=6,
                height=4,
                steps=(Step(None, "green"), Step(93_600.0, "red")),
            ),
        ),
    )
