"""What is told of the index: by every replica what the manifest says, by the indexer how its job goes."""

import asyncio
import json
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge

from rag_app.db.manifest import Manifest

# Written by each backup that succeeded, under DATA_DIR: {"finished_at": Unix seconds, "folder": …, "chunks": …}.
LAST_BACKUP = "last_backup.json"


class IndexMetrics:
    """How much is indexed, how old it is, and what waits."""

    def __init__(self, manifest: Manifest, data_dir: Path, registry: CollectorRegistry):
        """registry: the app's own."""
        self._manifest = manifest
        self._last_backup = data_dir / LAST_BACKUP

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self._repositories = gauge("rag_repositories", "Repositories by state.", "state")
        self._chunks = gauge("rag_index_chunks", "Chunks that the manifest speaks of.")
        self._files = gauge("rag_index_files", "Files in the index.")
        self._jobs = gauge("rag_index_jobs", "Jobs that are not over, by state.", "state")
        self._oldest_sync = gauge(
            "rag_index_oldest_sync_timestamp_seconds",
            "Last success of the repository that had none for longest; 0: no repository.",
        )
        self._backup = gauge("rag_backup_last_success_timestamp_seconds", "Last backup that succeeded; 0: none.")

    async def ask(self) -> None:
        """Read the manifest and the note of the last backup, in a thread. Fails with Unavailable."""
        totals = await asyncio.to_thread(self._manifest.totals)
        for state, count in totals.repositories.items():
            self._repositories.labels(state).set(count)
        self._jobs.labels("queued").set(totals.queued)
        self._jobs.labels("running").set(totals.running)
        self._chunks.set(totals.chunks)
        self._files.set(totals.files)
        self._oldest_sync.set(totals.oldest_sync or 0)
        self._backup.set(await asyncio.to_thread(last_backup, self._last_backup))


def last_backup(note: Path) -> float:
    """When the last backup succeeded, in Unix seconds; 0 where there is no note of one, or none that can be read."""
    try:
        told = json.loads(note.read_bytes())
        return float(told["finished_at"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0.0


class WorkerMetrics:
    """What one indexer does. Others than the holder of the lease stay at 0."""

    def __init__(self, registry: CollectorRegistry | None = None):
        """registry: the app's own; None: nobody looks."""
        self._moved_at: float | None = None
        self.ended = Counter(
            "rag_index_jobs_ended_total", "Jobs that this process ended, by state.", ["state"], registry=registry
        )
        self.vectors = Counter(
            "rag_index_vectors_total", "Chunks that got their vector, from the model or the cache.", ["source"],
            registry=registry,
        )  # fmt: skip
        for state in ("succeeded", "failed"):
            self.ended.labels(state)
        self.is_indexer = Gauge("rag_indexer", "1: this process holds the indexer's lease.", registry=registry)
        Gauge(
            "rag_index_job_progress_age_seconds",
            "How long the running job has made no progress; 0: none runs here.",
            registry=registry,
        ).set_function(self.progress_age_s)

    def moved(self) -> None:
        """The running job begins, or has done something."""
        self._moved_at = time.monotonic()

    def rest(self) -> None:
        """No job runs."""
        self._moved_at = None

    def progress_age_s(self) -> float:
        """Seconds since the running job did something; 0 where none runs."""
        return 0.0 if self._moved_at is None else time.monotonic() - self._moved_at
