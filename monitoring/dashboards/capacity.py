"""What the processes take, and what is left."""

from monitoring.dashboards.panels import Dashboard, Panel, Query, Row, Step
from monitoring.dashboards.promql import objective, rate

_FULL = (Step(None, "green"), Step(0.8, "orange"), Step(0.95, "red"))


def capacity() -> Dashboard:
    """Processors, memory, disks, places."""
    return Dashboard(
        "code-assistant-capacity",
        "Code Assistant: capacity",
        "What runs out first. docs/scaling.md says what to add.",
        (_processes(), _places(), _disks()),
    )


def _processes() -> Row:
    return Row(
        "Processes",
        (
            Panel(
                "Processor",
                "Cores of each service's process, and of the one in which the embedding model runs.",
                (
                    Query(rate("process_cpu_seconds_total", "job"), "{{job}}"),
                    Query(rate("embedding_worker_process_cpu_seconds_total", "job"), "{{job}}: model"),
                ),
                unit="cores",
                is_stacked=True,
            ),
            Panel(
                "Memory",
                "Resident. The container's limit is in docker-compose.yml.",
                (
                    Query("sum by (job) (process_resident_memory_bytes)", "{{job}}"),
                    Query("sum by (job) (embedding_worker_process_resident_memory_bytes)", "{{job}}: model"),
                ),
                unit="bytes",
            ),
            Panel(
                "Open files, of those that may",
                "Connections are files.",
                (Query("max by (job) (process_open_fds / process_max_fds)", "{{job}}"),),
                unit="percentunit",
                steps=_FULL,
            ),
            Panel(
                "Requests being served",
                "At this moment, by each service.",
                (Query("sum by (job) (http_requests_in_flight)", "{{job}}"),),
            ),
            Panel(
                "CPU a request",
                "What a request costs each service's process; of the embedding service, its model apart.",
                (
                    Query(
                        f"{rate('process_cpu_seconds_total', 'job')} / ({rate('http_requests_total', 'job')} > 0)",
                        "{{job}}",
                    ),
                ),
                unit="s",
            ),
            Panel(
                "Garbage collections",
                "Full ones, a second. Many: objects that live long, and many of them.",
                (Query(rate('python_gc_collections_total{generation="2"}', "job"), "{{job}}"),),
                unit="ops",
            ),
            Panel(
                "Since the start",
                "A service that begins anew all the time is one that is killed.",
                (Query("min by (job) (time() - process_start_time_seconds)", "{{job}}"),),
                unit="s",
                kind="bargauge",
            ),
        ),
    )


def _places() -> Row:
    return Row(
        "Places",
        (
            Panel(
                "Places taken",
                "Of the fullest replica's queue, or of its places where it has no queue. At 1 callers are refused.",
                (
                    Query("service:queue:ratio", "{{job}}"),
                    objective("service:objective:queue_ratio"),
                ),
                unit="percentunit",
                width=12,
                most=1.0,
                steps=_FULL,
            ),
            Panel(
                "Embedding cache",
                "What it takes of EMBEDDING_CACHE_BYTES.",
                (Query("sum by (job) (embedding_cache_bytes)", "{{job}}"),),
                unit="bytes",
                width=12,
            ),
        ),
    )


def _disks() -> Row:
    return Row(
        "Disks",
        (
            Panel(
                "Disk used",
                "Of the disk that holds a service's data.",
                (
                    Query(
                        "1 - min by (job, volume) (service:disk_free:ratio)",
                        "{{job}} {{volume}}",
                    ),
                ),
                unit="percentunit",
                most=1.0,
                steps=_FULL,
            ),
            Panel(
                "Disk left",
                "An index that finds no room fails its job and serves on.",
                (Query("min by (job, volume) (service_disk_free_bytes)", "{{job}} {{volume}}"),),
                unit="bytes",
            ),
            Panel(
                "Disk left in a week",
                "If it goes on as in the last six hours; 0: it is full by then.",
                (
                    Query(
                        "clamp_min(min by (job, volume) (predict_linear(service_disk_free_bytes[6h], 7 * 86400)), 0)",
                        "{{job}} {{volume}}",
                    ),
                ),
                unit="bytes",
            ),
            Panel(
                "Memory a point",
                "The store's resident memory by its points: what docs/scaling.md computes with.",
                (
                    Query(
                        'sum(process_resident_memory_bytes{job=~"vector.*|qdrant.*"}) / sum(vector_db:points > 0)',
                        "resident bytes a point",
                    ),
                ),
                unit="bytes",
            ),
        ),
    )
