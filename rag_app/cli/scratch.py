"""A scratch copy of a repository, indexed while something is measured on it: another commit, or changed files.

It is a clone that shares the objects of the repository, and a repository of its own in the index, hidden by the dot of
its name. Both are gone at the end; what a killed process leaves, the next one removes.
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
from rag_app.cli.interrupts import Interrupted, put_off
from rag_app.cli.output import say
from rag_app.cli.past import Past, run_git
from rag_app.cli.progress import states
from rag_app.db.alive import AliveMark

# A sync of what one commit changed takes little more.
POLL_S = 0.05

# A job that was in hand when the end came runs on, and the copy can be forgotten after it. Its files are gone by then,
# so that it has little left to do but the batch that it is embedding.
FORGET_LIMIT_S = 60.0

RETRY_S = 0.3

REMOVING = f"ending; the scratch copy is being removed, which may take up to {FORGET_LIMIT_S:.0f} s"

# In the folder of a scratch copy: holds a file that is locked while the process lives whose copy it is.
_ALIVE = "alive"


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
    top = _top(past)
    below = past.git("rev-parse", "--show-prefix").strip()
    try:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(top), dir=top.parent))
    except OSError as exc:
        raise Failure(f"this makes a scratch copy in {top.parent}, which cannot be written: {exc.strerror}") from exc
    mark = AliveMark(folder / _ALIVE)
    try:
        mark.set()
        run_git(folder, "clone", "--quiet", "--shared", "--no-checkout", str(top), "all")
        yield Clone(folder / "all", folder / "all" / below)
    finally:
        mark.remove()
        shutil.rmtree(folder, ignore_errors=True)


def forget_left_over(rag: Server, past: Past) -> None:
    """Remove the scratch copies of this repository that a killed process left: folders, and what the index has."""
    top = _top(past)
    for folder in top.parent.glob(f"{_prefix(top)}*"):
        marks = [path.name for path in (folder / _ALIVE).glob("*")]
        if marks and all(AliveMark(folder / _ALIVE).is_dead(mark) for mark in marks):
            shutil.rmtree(folder, ignore_errors=True)
    for repository in rag.repositories():
        path = Path((repository.get("source") or {}).get("path", ""))
        folders = [one for one in (path, *path.parents) if one.parent == top.parent]
        if folders and folders[0].name.startswith(_prefix(top)) and not folders[0].exists():
            try:
                rag.call("DELETE", f"/v1/repositories/{repository['id']}")
            except Failure as failure:
                say(f"the left-over scratch copy {repository['name']} is still there: {failure.message}")
            else:
                say(f"removed the left-over scratch copy {repository['name']} from the index")


def _top(past: Past) -> Path:
    return Path(past.git("rev-parse", "--show-toplevel").strip())


def _prefix(top: Path) -> str:
    return f".{top.name}-scratch-"


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
            with put_off():  # or it would be registered, and nobody would know its id
                answer = self._rag.call("POST", "/v1/repositories", body)
                self._id, job = answer["repository"]["id"], answer["job"]
        job = list(states(self._rag, job, POLL_S))[-1]
        if job["state"] != "succeeded":
            raise Failure(f"indexing the scratch copy {job['state']}: {(job.get('error') or {}).get('message', '')}")
        return self._id

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._id:
            return
        ended = error if isinstance(error, Interrupted) else None
        try:
            left = self._forget(is_ending=ended is not None)
        except Interrupted as end:
            # The first signal came now, and the ones after it wait; or another came after they had waited long.
            left = self._forget(is_ending=True) if ended is None else "another signal came"
            ended = ended or end
        told = f"the scratch copy is left in the index: `code-assistant repos delete {self._id}` removes it ({left})"
        if ended is not None:
            ended.left = told if left else ""
            raise ended
        if left:
            say(told)

    def _forget(self, *, is_ending: bool) -> str:
        """Take it out of the index; "" or why that is not possible."""
        if is_ending:
            say(REMOVING)
        deadline = time.monotonic() + FORGET_LIMIT_S
        shutil.rmtree(self._folder, ignore_errors=True)
        while True:
            try:
                self._rag.call("DELETE", f"/v1/repositories/{self._id}")
                return ""
            except Failure as failure:
                if failure.code == "not_found":
                    return ""
                if failure.code != "conflict" or time.monotonic() >= deadline:
                    return failure.message
            time.sleep(RETRY_S)  # a job of it still runs
