"""The git program: clone and fetch what was allowed, and what a work tree is at. Never asks, never runs hooks."""

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rag_app.features.indexing.sources import without_credentials
from service_kit.errors import DeadlineExceeded, Unavailable, Upstream

FETCH_TIMEOUT_S = 600.0
LOCAL_TIMEOUT_S = 20.0

# What git says is shown to the caller: its last lines, which hold the reason.
_SHOWN_CHARS = 300

_SAFE = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.symlinks=true",
    "-c", "protocol.ext.allow=never",
    "-c", "protocol.file.allow=never",
    "-c", "submodule.recurse=false",
    "-c", "advice.detachedHead=false",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """What a work tree is at: ref "" where no branch is checked out, commit "" where it is not git's.

    is_dirty: tracked files differ from the commit.
    """

    ref: str = ""
    commit: str = ""
    is_dirty: bool = False


async def head_of(folder: Path) -> Head:
    """What is checked out in `folder`; an empty Head where it is no git work tree or there is no git program."""
    if shutil.which("git") is None or not any((above / ".git").exists() for above in (folder, *folder.parents)):
        return Head()
    try:
        commit = await _git(folder, "rev-parse", "--verify", "HEAD^{commit}")
    except Upstream:
        return Head()  # no commit yet, or a folder that git does not trust
    try:
        ref = await _git(folder, "symbolic-ref", "--short", "-q", "HEAD")
    except Upstream:
        ref = ""
    try:
        changed = await _git(folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules", "--", ".")
    except (Upstream, DeadlineExceeded):
        changed = ""
    return Head(ref, commit, bool(changed))


async def update_clone(url: str, ref: str | None, folder: Path) -> Head:
    """Bring the shallow clone of `url` in `folder` to the newest commit of `ref` (None: the remote's default branch).

    Fails with Unavailable (no git program), Upstream (git's own words) or DeadlineExceeded. A failed fetch leaves the
    clone as it was.
    """
    if shutil.which("git") is None:
        raise Unavailable("the git program is not installed; install git, or index a folder")
    if not (folder / ".git").exists():
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        await _git(folder, "init", "--quiet", ".")
    wanted = ref or "HEAD"
    await _git(folder, "fetch", "--quiet", "--depth=1", "--no-tags", "--force", "--", url, wanted, remote=url)
    await _git(folder, "checkout", "--quiet", "--force", "--detach", "FETCH_HEAD")
    await _git(folder, "clean", "-qffdx")
    commit = await _git(folder, "rev-parse", "HEAD")
    return Head(ref or await _default_branch(url, folder), commit)


async def _default_branch(url: str, folder: Path) -> str:
    try:
        answer = await _git(folder, "ls-remote", "--symref", "--", url, "HEAD", remote=url)
    except Upstream:
        return ""
    first = answer.split("\n", 1)[0]
    return first.removeprefix("ref: refs/heads/").split("\t")[0] if first.startswith("ref: refs/heads/") else ""


async def _git(folder: Path, *arguments: str, remote: str | None = None) -> str:
    timeout_s = FETCH_TIMEOUT_S if remote else LOCAL_TIMEOUT_S
    process = await asyncio.create_subprocess_exec(
        "git",
        *_SAFE,
        *arguments,
        cwd=folder,
        env=_environment(os.environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    except TimeoutError as exc:
        raise DeadlineExceeded(f"git {arguments[0]} did not end within {timeout_s:g} s") from exc
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise Upstream(_message(arguments, err.decode("utf-8", "replace"), remote))
    return out.decode("utf-8", "replace").strip()


def _message(arguments: Sequence[str], said: str, remote: str | None) -> str:
    shown = without_credentials(remote) if remote else ""
    if remote:
        said = said.replace(remote, shown)
    return f"git {arguments[0]} {shown} failed: {said.strip()[-_SHOWN_CHARS:]}".replace("  ", " ")


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """Ours without what would redirect git, and with all that makes it silent."""
    kept = {name: value for name, value in own.items() if not name.startswith("GIT_")}
    return {
        **kept,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "https:http:ssh",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "LC_ALL": "C",
    }
