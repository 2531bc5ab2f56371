"""What is indexed, how the indexer gets on, and what it waits for."""

from monitoring.dashboards.panels import Dashboard, Panel, Query, Row, Step
from monitoring.dashboards.promql import STEP, objective, or_zero, quantile, rate


def indexing() -> Dashboard:
    """Jobs, and the services that they pass."""
    return Dashboard(
        "code-assistant-indexing",
        "Code Assistant: indexing",
        "Jobs from their queue to the store.",
        (_jobs(), _index(), _way()),
    )


def _jobs() -> Row:
    return Row(
        "Jobs",
        (
            Panel(
                "Jobs that are not over",
                "By state. Queued and none running: is there an indexer?",
                (Query("max by (state) (rag_index_jobs)", "{{state}}"),),
            ),
            Panel(
                "Jobs that ended",
                "In the time that a point of this line spans. Why one failed: `code-assistant logs --request-id JOB`.",
                (Query(f"sum by (state) (increase(rag_index_jobs_ended_total[{STEP}]))", "{{state}}"),),
                is_stacked=True,
            ),
            Panel(
                "Without progress for",
                "The running job. Minutes: it is stuck, at the embedding service or the store.",
                (
                    Query("max(rag_index_job_progress_age_seconds)", "running job"),
                    objective("rag:objective:job_silence_seconds"),
                ),
                unit="s",
            ),
            Panel(
                "Indexers",
                "Processes that hold the lease: exactly one.",
                (Query("sum(rag_indexer)"),),
                kind="stat",
                width=6,
                height=4,
                steps=(Step(None, "red"), Step(1.0, "green"), Step(2.0, "red")),
            ),
            Panel(
                "Jobs that failed in a day",
                "Each has its reason in `GET /v1/jobs/{id}`.",
                (Query('sum(increase(rag_index_jobs_ended_total{state="failed"}[1d]))'),),
                kind="stat",
                width=6,
                height=4,
                steps=(Step(None, "green"), Step(1.0, "red")),
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
                "Repositories that failed",
                "Their last job did.",
                (Query('max(rag_repositories{state="failed"})'),),
                kind="stat",
                width=6,
                height=4,
                steps=(Step(None, "green"), Step(1.0, "red")),
            ),
        ),
    )


def _index() -> Row:
    return Row(
        "The index",
        (
            Panel(
                "Chunks and files",
                "By the manifest.",
                (Query("max(rag_index_chunks)", "chunks"), Query("max(rag_index_files)", "files")),
            ),
            Panel(
                "Points in the store",
                "More than chunks for long: points of what was deleted wait to be swept.",
                (
                    Query(
                        "vector_db:points",
                        "{{collection}}",
                    ),
                ),
            ),
            Panel(
                "Repositories", "By state.", (Query("max by (state) (rag_repositories)", "{{state}}"),), is_stacked=True
            ),
        ),
    )


def _way() -> Row:
    writes = 'method="PUT",route=~".*/points.*"'
    qdrant = 'method="PUT",endpoint=~".*/points.*"'  # a Qdrant server's own names
    ours = quantile(0.95, "http_request_duration_seconds", labels=writes)
    theirs = quantile(0.95, "rest_responses_duration_seconds", labels=qdrant)
    return Row(
        "On the way",
        (
            Panel(
                "Vectors",
                "Chunks a second that got theirs, from the model or the cache.",
                (Query(rate("rag_index_vectors_total", "source"), "{{source}}"),),
                unit="ops",
                is_stacked=True,
            ),
            Panel(
                "Texts embedded",
                "A second, those of searches included. TEI's counter, which it calls a gauge.",
                (Query(f"sum(rate(te_embed_count[{STEP}]))", "texts"),),
                unit="ops",
            ),
            Panel(
                "Texts a batch",
                "The model is best used by full batches.",
                (
                    Query(quantile(0.5, "te_batch_next_size"), "p50"),
                    Query(quantile(0.95, "te_batch_next_size"), "p95"),
                ),
            ),
            Panel(
                "Embedding workers that ended",
                "Unasked: by a lack of memory, most of the time.",
                (Query(f"sum(increase(embedding_worker_ends_total[{STEP}]))", "ends"),),
            ),
            Panel(
                "Writes to the store, p95",
                "Of one request of up to 128 points.",
                (
                    Query(
                        f"({ours}) or ({theirs})",
                        "p95",
                    ),
                ),
                unit="s",
            ),
            Panel("Writes that wait", "In vector_db.", (Query("sum(vector_db_writes_waiting)", "writes"),)),
            Panel(
                "Refused by the embedding service",
                "429: the indexer waits and tries again.",
                (
                    Query(
                        or_zero(f'sum(rate(errors_total{{job=~"embedding.*",code="overloaded"}}[{STEP}]))'), "refusals"
                    ),
                ),
                unit="ops",
            ),
        ),
    )
