"""The ranking weights that are kept for a repository, one set each."""

import json
import time
from collections.abc import Mapping
from typing import Any

from rag_app.db.manifest_jobs import refuse_in_maintenance
from rag_app.db.records import KeptRanking
from rag_app.db.sqlite import Database


class RankingLedger:
    """Kept weights. Who may see a repository is the caller's to check."""

    def __init__(self, database: Database):
        """database: the manifest's, opened by it."""
        self._database = database

    def of(self, repository: str) -> KeptRanking | None:
        """What is kept for a repository, or None."""
        row = self._database.row("SELECT weights, evidence, kept_at FROM rankings WHERE repository = ?", [repository])
        if row is None:
            return None
        return KeptRanking(json.loads(row["weights"]), json.loads(row["evidence"]), row["kept_at"])

    def keep(self, repository: str, weights: Mapping[str, float], evidence: Mapping[str, Any]) -> None:
        """Keep weights in place of what was kept. The repository is there; Conflict while the index is restored."""
        with self._database.transaction() as connection:
            refuse_in_maintenance(connection)
            connection.execute(
                "INSERT OR REPLACE INTO rankings VALUES (?, ?, ?, ?)",
                (repository, json.dumps(dict(weights)), json.dumps(dict(evidence)), time.time()),
            )

    def forget(self, repository: str) -> None:
        """Go back to the defaults. Conflict while the index is being restored."""
        with self._database.transaction() as connection:
            refuse_in_maintenance(connection)
            connection.execute("DELETE FROM rankings WHERE repository = ?", (repository,))
