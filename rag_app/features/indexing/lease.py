"""Who indexes: one process at a time, under a lease in the manifest that it renews while it lives."""

from pathlib import Path

from rag_app.db.alive import AliveMark, kernel
from rag_app.db.manifest_jobs import INDEXER, LEASE_RENEWED_EVERY_S, LEASE_S, JobLedger
from service_kit.errors import Unavailable

NAME = INDEXER
LASTING_S = LEASE_S
RENEWED_EVERY_S = LEASE_RENEWED_EVERY_S


class Lease:
    """This process's claim to be the indexer."""

    def __init__(self, jobs: JobLedger, folder: Path):
        """jobs: the ledger that holds the lease. folder: of the manifest; all processes that may index share it."""
        self._jobs = jobs
        self._mark = AliveMark(folder / "indexers")
        self._holder = f"{kernel()}/{self._mark.name}"

    def take(self) -> bool:
        """Take or renew it. A holder on this machine that has ended is not waited for, whatever its container was.

        Unavailable where the data folder cannot be written.
        """
        try:
            self._mark.set()
        except OSError as exc:
            raise Unavailable(f"cannot mark this process as alive: {exc}; see that DATA_DIR can be written") from exc
        if self._jobs.take_lease(NAME, self._holder, LASTING_S):
            return True
        other = self._jobs.lease_holder(NAME)
        if other is None or not self._is_dead(other):
            return False
        self._jobs.give_lease(NAME, other)
        self._mark.sweep()
        return self._jobs.take_lease(NAME, self._holder, LASTING_S)

    def give_back(self) -> None:
        """Let another take it at once."""
        self._jobs.give_lease(NAME, self._holder)
        self._mark.remove()

    def _is_dead(self, holder: str) -> bool:
        machine, _, name = holder.partition("/")
        # Of another machine nothing can be known, nor of a name that is a path.
        return machine == kernel() and name.isalnum() and self._mark.is_dead(name)
