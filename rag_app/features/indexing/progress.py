"""How far a run is, added up."""

import time
from collections.abc import Callable
from dataclasses import replace

from rag_app.db.records import Progress


class ProgressMeter:
    """Adds up what is done. `report` is called at every change; the caller throttles."""

    def __init__(self, report: Callable[[Progress], None]):
        """report: takes the progress so far."""
        self._report = report
        self._begun = time.monotonic()
        self.progress = Progress()

    def expect(self, files: int) -> None:
        """How many files there are, known before any is embedded."""
        self._set(replace(self.progress, files_total=files))

    def files(self, done: int) -> None:
        """More files are done: indexed, unchanged or left out after reading."""
        self._set(replace(self.progress, files_done=self.progress.files_done + done))

    def chunks(self, embedded: int, reused: int) -> None:
        """More chunks have their vector."""
        now = self.progress
        self._set(
            replace(
                now,
                chunks_embedded=now.chunks_embedded + embedded,
                chunks_reused=now.chunks_reused + reused,
                chunks_done=now.chunks_done + embedded + reused,
            )
        )

    def _set(self, progress: Progress) -> None:
        self.progress = replace(progress, elapsed_ms=round((time.monotonic() - self._begun) * 1000))
        self._report(self.progress)
