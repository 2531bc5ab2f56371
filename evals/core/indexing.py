"""Brings the index to the state that a batch asks about."""

from collections.abc import Callable
from time import monotonic, sleep

from evals.core.stack import Service
from evals.core.task import Batch

# 10,000 chunks take five minutes of two cores, and several times that beside other work.
INDEX_LIMIT_S = 4 * 3_600

TELL_EVERY_S = 20


class NotIndexed(Exception):
    """A job failed or took too long; the text says which."""


class Index:
    """What the RAG server holds, and which state of each repository that is."""

    def __init__(self, service: Service, say: Callable[[str], None]) -> None:
        """Asks the server what it has. say: told what is waited for."""
        self._service = service
        self._say = say
        known = service.call("GET", "/v1/repositories")["repositories"]
        self._ids: dict[str, str] = {one["name"]: one["id"] for one in known}
        self._states: dict[str, str] = {}

    def bring(self, batch: Batch) -> str:
        """Index or sync the batch's folder, unless this run has done so; returns the repository's id.

        Fails with NotIndexed.
        """
        name = batch.repository
        if self._states.get(name) == batch.state:
            return self._ids[name]
        if name in self._ids:
            job = self._service.call("POST", f"/v1/repositories/{self._ids[name]}/sync")["job"]["id"]
        else:
            body = {"source": {"type": "path", "path": str(batch.root)}, "name": name, "include": list(batch.include)}
            answer = self._service.call("POST", "/v1/repositories", body)
            job, self._ids[name] = answer["job"]["id"], answer["repository"]["id"]
        self._wait(name, job)
        self._states[name] = batch.state
        return self._ids[name]

    def chunks(self, name: str) -> int:
        """How many chunks the repository has."""
        return int(self._service.call("GET", f"/v1/repositories/{self._ids[name]}")["chunks"])

    def _wait(self, name: str, job: str) -> None:
        began = told = monotonic()
        pause_s = 0.05
        while True:
            state = self._service.call("GET", f"/v1/jobs/{job}")
            if state["state"] == "succeeded":
                return
            if state["state"] in ("failed", "cancelled"):
                raise NotIndexed(f"indexing {name} {state['state']}: {state.get('error')}")
            if monotonic() - began > INDEX_LIMIT_S:
                raise NotIndexed(f"indexing {name} took over {INDEX_LIMIT_S} s")
            if monotonic() - told > TELL_EVERY_S:
                told = monotonic()
                progress = state["progress"]
                self._say(f"  {name}: {progress['chunks_done']} chunks, {told - began:.0f} s")
            sleep(pause_s)
            pause_s = min(pause_s * 1.5, 1.0)
