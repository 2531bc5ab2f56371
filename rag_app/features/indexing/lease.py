"""Who indexes: one process at a time, under a lease in the manifest that it renews while it lives."""

from rag_app.core.holder import holder_name, is_dead
from rag_app.db.manifest_jobs import INDEXER, LEASE_RENEWED_EVERY_S, LEASE_S, JobLedger

NAME = INDEXER
LASTING_S = LEASE_S
RENEWED_EVERY_S = LEASE_RENEWED_EVERY_S


class Lease:
    """This process's claim to be the indexer."""

    def __init__(self, jobs: JobLedger):
        """jobs: the ledger that holds the lease."""
        self._jobs = jobs
        self._holder = holder_name()

    def take(self) -> bool:
        """Take or renew it. A holder that is a dead process of this machine is not waited for."""
        if self._jobs.take_lease(NAME, self._holder, LASTING_S):
            return True
        other = self._jobs.lease_holder(NAME)
        if other is None or not is_dead(other):
            return False
        self._jobs.give_lease(NAME, other)
        return self._jobs.take_lease(NAME, self._holder, LASTING_S)

    def give_back(self) -> None:
        """Let another take it at once."""
        self._jobs.give_lease(NAME, self._holder)
