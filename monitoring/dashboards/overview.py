"""Is the promise kept, and if not: which part of the house to look at."""

from monitoring.dashboards.objectives import OBJECTIVES, PERIOD
from monitoring.dashboards.panels import Dashboard, Panel, Query, Row, Step
from monitoring.dashboards.promql import or_zero, quantile, rate

_WINDOWS = ("5m", "1h", "6h")

_ERRORS = 'http_requests_total{status=~"5.."}'

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
            objective.name,
            f"Share in {PERIOD}; the objective is {objective.target:.1%}.",
            (Query(objective.kept()),),
            unit="percentunit",
            kind="stat",
            width=6,
            height=4,
            steps=(Step(None, "red"), Step(objective.target, "green")),
        )
        for objective in OBJECTIVES
    )
    budget = Panel(
        "Error budget left",
        f"Of what may go wrong in {PERIOD}, the part that has not yet. Below 0 the objective is missed.",
        tuple(Query(objective.budget_left(), objective.name) for objective in OBJECTIVES),
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
            Query(objective.burn(window), f"{objective.name}, {window}")
            for objective in OBJECTIVES
            for window in _WINDOWS
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
                "The line is the promise. Which part is slow: the dashboard Search.",
                (Query(quantile(0.95, "rag_search_duration_seconds", "mode"), "{{mode}}"),),
                unit="s",
                steps=(Step(None, "green"), Step(5.0, "red")),
            ),
            Panel(
                "First words of an answer, p95",
                "From the question, the search included.",
                (Query(quantile(0.95, "rag_time_to_first_token_seconds", "request"), "{{request}}"),),
                unit="s",
            ),
            Panel(
                "Degraded",
                "Searches and answers that did without a dependency, a second.",
                (Query(rate("rag_degraded_total", "dependency"), "without {{dependency}}"),),
                unit="ops",
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
                "HTTP answers of 500 and more, as a share of all.",
                (
                    Query(
                        or_zero(f"{rate(_ERRORS, 'job')} / {rate('http_requests_total', 'job')}"),
                        "{{job}}",
                    ),
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
                (Query("time() - max(rag_index_oldest_sync_timestamp_seconds > 0)"),),
                unit="s",
                kind="stat",
                width=6,
                height=4,
            ),
            Panel(
                "Last backup",
                "How long ago the last one succeeded. No number: there never was one.",
                (Query("time() - max(rag_backup_last_success_timestamp_seconds > 0)"),),
                unit="s",
                kind="stat",
                width=6,
                height=4,
                steps=(Step(None, "green"), Step(93_600.0, "red")),
            ),
        ),
    )
