"""Questions of the history, each asked of the tree before its commit: a scratch copy is indexed at each parent in turn.

The scratch copy is a clone that shares the objects of the repository, and a repository of its own in the index while it
is measured; both are gone when it ends, however it ends.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rag_app.cli.client import Failure, Server
from rag_app.cli.measuring import Asker, Values
from rag_app.cli.output import say
from rag_app.cli.past import Past, run_git
from rag_app.cli.progress import states
from search_eval.history import Asked

# A job that was in hand when the end came runs on; the copy can be forgotten after it.
FORGET_LIMIT_S = 300.0


def measured(
    rag: Server,
    repository: Mapping[str, Any],
    past: Past,
    asked: Sequence[Asked],
    ways: Mapping[str, tuple[str, Mapping[str, float]]],
) -> tuple[dict[str, list[Values]], int]:
    """Row -> the metrics of each question in the order given, and how many searches that took.

    ways: row -> (mode, ranking). Fails where the scratch copy may not be indexed or a job fails.
    """
    by_time = sorted(range(len(asked)), key=lambda index: (asked[index].time, asked[index].commit))
    values: dict[str, list[Values]] = {name: [{} for _ in asked] for name in ways}
    searches = 0
    with _scratch(past) as folder, _Copy(rag, folder, repository) as copy:
        for done, index in enumerate(by_time):
            run_git(folder, "checkout", "--quiet", "--force", "--detach", asked[index].parent)
            asker = Asker(rag, copy.synced(), [asked[index].question], is_past=False)
            for name, (mode, ranking) in ways.items():
                values[name][index] = asker.values(0, ranking, mode)
            searches += asker.searches
            if (done + 1) % 10 == 0:
                say(f"{done + 1} of {len(asked)} parents asked")
    return values, searches


@contextmanager
def _scratch(past: Past) -> Iterator[Path]:
    """A clone beside the repository's folder: where that may be indexed, this may be most likely."""
    top = Path(past.git("rev-parse", "--show-toplevel").strip())
    below = past.git("rev-parse", "--show-prefix").strip()
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{top.name}-at-parent-", dir=top.parent))
    except OSError as exc:
        raise Failure(
            f"--at-parent makes a scratch copy in {top.parent}, which cannot be written: {exc.strerror}"
        ) from exc
    try:
        run_git(folder, "clone", "--quiet", "--shared", "--no-checkout", str(top), "all")
        yield folder / "all" / below
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Copy:
    """The scratch copy in the index: registered at its first sync, forgotten at the end of the block."""

    def __init__(self, rag: Server, folder: Path, original: Mapping[str, Any]):
        self._rag = rag
        self._folder = folder
        self._original = original
        self._id = ""

    def __enter__(self) -> Self:
        return self

    def synced(self) -> str:
        """Index what is checked out; the id of the copy in the index."""
        if self._id:
            job = self._rag.call("POST", f"/v1/repositories/{self._id}/sync")["job"]
        else:
            body = {
                "source": {"type": "path", "path": str(self._folder)},
                "name": next(part for part in self._folder.parts if "-at-parent-" in part).lstrip("."),
                "include": self._original.get("include", []),
                "exclude": self._original.get("exclude", []),
            }
            say("indexing a scratch copy at the first parent")
            answer = self._rag.call("POST", "/v1/repositories", body)
            self._id, job = answer["repository"]["id"], answer["job"]
        job = list(states(self._rag, job))[-1]
        if job["state"] != "succeeded":
            raise Failure(f"indexing the scratch copy {job['state']}: {(job.get('error') or {}).get('message', '')}")
        return self._id

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + FORGET_LIMIT_S
        while self._id:
            try:
                self._rag.call("DELETE", f"/v1/repositories/{self._id}")
                return
            except Failure as failure:
                if failure.code == "conflict" and time.monotonic() < deadline:  # a job of it still runs
                    time.sleep(0.5)
                    continue
                say(f"the scratch copy is left: `code-assistant repos delete {self._id}` ({failure.message})")
                return
