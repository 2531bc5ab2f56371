"""A scratch copy of a repository, indexed while something is measured on it: another commit, or changed files.

It is a clone that shares the objects of the repository, and a repository of its own in the index; both are gone at the
end, however it ends.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rag_app.cli.client import Failure, Server
from rag_app.cli.output import say
from rag_app.cli.past import Past, run_git
from rag_app.cli.progress import states

# A sync of what one commit changed takes little more.
POLL_S = 0.05

# A job that was in hand when the end came runs on; the copy can be forgotten after it.
FORGET_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Clone:
    """A clone of a whole work tree. top: its root; indexed: the folder of it that is indexed."""

    top: Path
    indexed: Path

    def checkout(self, commit: str) -> None:
        """Have the files of a commit there, and no others."""
        run_git(self.top, "checkout", "--quiet", "--force", "--detach", commit)
        run_git(self.top, "clean", "-qffdx")


@contextmanager
def scratch_clone(past: Past) -> Iterator[Clone]:
    """A clone beside the repository's folder: where that may be indexed, this may be most likely."""
    top = Path(past.git("rev-parse", "--show-toplevel").strip())
    below = past.git("rev-parse", "--show-prefix").strip()
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{top.name}-scratch-", dir=top.parent))
    except OSError as exc:
        raise Failure(f"this makes a scratch copy in {top.parent}, which cannot be written: {exc.strerror}") from exc
    try:
        run_git(folder, "clone", "--quiet", "--shared", "--no-checkout", str(top), "all")
        yield Clone(folder / "all", folder / "all" / below)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class ScratchCopy:
    """The scratch copy in the index: registered at its first sync, forgotten at the end of the block."""

    def __init__(self, rag: Server, folder: Path, original: Mapping[str, Any]):
        """folder: what is indexed; original: the repository that it is a copy of, whose patterns it takes."""
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
                "name": next(part for part in self._folder.parts if "-scratch-" in part),
                "include": self._original.get("include", []),
                "exclude": self._original.get("exclude", []),
            }
            say("indexing a scratch copy")
            answer = self._rag.call("POST", "/v1/repositories", body)
            self._id, job = answer["repository"]["id"], answer["job"]
        job = list(states(self._rag, job, POLL_S))[-1]
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
