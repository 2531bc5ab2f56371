"""Where a repository's past lies on this machine, and git over it: read only, and running nothing that it names."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_app.cli.client import Failure, Server
from rag_app.cli.output import say
from rag_app.features.indexing.git import SAFE_OPTIONS, quiet_environment

# The whole history of a large repository is read in one call: 100,000 commits with their paths take about a minute.
GIT_LIMIT_S = 600.0

_COMMIT = re.compile(r"[0-9a-f]{40,64}")


@dataclass(frozen=True, slots=True)
class Past:
    """A folder of a work tree with its history, and the commit that the index holds."""

    folder: Path
    tip: str

    def git(self, *words: str) -> str:
        """What git writes for these words in the folder; Failure with its reason where it fails."""
        return run_git(self.folder, *words)


def run_git(folder: Path, *words: str) -> str:
    """As Past.git. Hooks and pagers of the folder's own configuration are not run, and nothing is fetched."""
    quiet = quiet_environment(os.environ, is_plain=False)
    environment = {**quiet, "GIT_ALLOW_PROTOCOL": "file", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", *SAFE_OPTIONS, "-c", "core.pager=cat", *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_LIMIT_S,
            check=False,
        )
    except FileNotFoundError as exc:
        raise Failure("the git program is not installed; its history is what this asks") from exc
    except subprocess.TimeoutExpired as exc:
        raise Failure(f"git did not read the history of {folder} within {GIT_LIMIT_S:g} s") from exc
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1][-300:]
        raise Failure(f"git cannot read the history of {folder}: {said}")
    return done.stdout.decode("utf-8", "replace")


def indexed_repository(rag: Server, wanted: str) -> dict[str, Any]:
    """The repository with this id or name, or of this path. Fails with the names that exist."""
    known = rag.repositories()
    place = str(Path(wanted).expanduser().absolute().resolve())
    for repository in known:
        if wanted in (repository["id"], repository["name"]) or (repository.get("source") or {}).get("path") == place:
            return repository
    return rag.repository(wanted)


def past_of(repository: dict[str, Any], history: Path | None) -> Past:
    """The past of an indexed repository; history: a clone that has it, where the indexed folder is not on this machine.

    Fails, in words, where there is no git repository.
    """
    source = repository.get("source") or {}
    if history is None and source.get("type") != "path":
        raise Failure(
            f"the server cloned {repository['name']} without its history; name a clone that has it: --history PATH"
        )
    folder = (history or Path(str(source["path"]))).expanduser().absolute()
    if not folder.is_dir():
        raise Failure(f"{folder} is not on this machine; name a clone that has the history: --history PATH")
    if history is not None and not run_git(folder, "rev-parse", "--is-inside-work-tree").startswith("true"):
        raise Failure(f"{folder} is no work tree of git")
    return Past(folder, _tip(folder, str(repository.get("commit") or "")))


def _tip(folder: Path, indexed: str) -> str:
    head = run_git(folder, "rev-parse", "--verify", "HEAD").strip()
    found = _COMMIT.match(indexed)
    if found is None or found[0] == head:
        return head
    try:
        run_git(folder, "cat-file", "-e", f"{found[0]}^{{commit}}")
    except Failure:
        say(f"{folder} has no commit {found[0][:10]}, which the index holds; its HEAD is taken instead")
        return head
    return found[0]
