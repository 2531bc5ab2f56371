"""The git program: clone and fetch what was allowed, and what a work tree is at. Never asks, never runs hooks."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rag_app.features.indexing.sources import without_credentials
from service_kit.errors import DeadlineExceeded, Unavailable, Upstream

FETCH_TIMEOUT_S = 600.0
LOCAL_TIMEOUT_S = 20.0

# What git says is shown to the caller: its last lines, which hold the reason.
_SHOWN_CHARS = 300

SAFE_OPTIONS = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.symlinks=true",
    "-c", "protocol.ext.allow=never",
    "-c", "protocol.file.allow=never",
    "-c", "submodule.recurse=false",
    "-c", "advice.detachedHead=false",
    "-c", "gc.auto=0",
    # A server that says nothing, or a byte now and then, is given up long before FETCH_TIMEOUT_S.
    "-c", "http.lowSpeedLimit=1000",
    "-c", "http.lowSpeedTime=60",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """What a work tree is at: ref "" where no branch is checked out, commit "" where it is not git's.

    is_dirty: tracked files differ from the commit, or git could not tell.
    """

    ref: str = ""
    commit: str = ""
    is_dirty: bool = False


async def head_of(folder: Path) -> Head:
    """What is checked out in `folder`; an empty Head where it is no git work tree or there is no git program.

    Nothing that the folder's own git configuration names is run, and nothing is written.
    """
    if shutil.which("git") is None or not any((above / ".git").exists() for above in (folder, *folder.parents)):
        return Head()
    try:
        # Not HEAD^{commit}: a partial clone that lacks the commit would fetch it, by the commands of its configuration.
        commit = await _git(folder, "rev-parse", "--verify", "HEAD")
    except (Upstream, DeadlineExceeded):
        return Head()  # no commit yet, or a folder that git does not trust
    try:
        ref = await _git(folder, "symbolic-ref", "--short", "-q", "HEAD")
    except (Upstream, DeadlineExceeded):
        ref = ""
    try:
        return Head(ref, commit, await _is_dirty(folder, commit))
    except (Upstream, DeadlineExceeded):
        return Head(ref, commit, is_dirty=True)


async def update_clone(url: str, ref: str | None, folder: Path) -> Head:
    """Bring the shallow clone of `url` in `folder` to the newest commit of `ref` (None: the remote's default branch).

    Fails with Unavailable (no git program), Upstream (git's own words) or DeadlineExceeded. A failed fetch leaves the
    clone as it was.
    """
    if shutil.which("git") is None:
        raise Unavailable("the git program is not installed; install git, or index a folder")
    await asyncio.to_thread(_prepare, folder)
    await _in_clone(folder, "init", "--quiet")
    await _in_clone(
        folder, "fetch", "--quiet", "--depth=1", "--no-tags", "--force", "--", url, ref or "HEAD", remote=url
    )
    await _in_clone(folder, "checkout", "--quiet", "--force", "--detach", "FETCH_HEAD")
    await _in_clone(folder, "clean", "-qffdx")
    commit = await _in_clone(folder, "rev-parse", "HEAD")
    return Head(ref or await _default_branch(url, folder), commit)


def _prepare(folder: Path) -> None:
    """The folder of a clone, without the locks of a git that was killed in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for lock in (folder / ".git").glob("*.lock"):
        lock.unlink(missing_ok=True)


async def _default_branch(url: str, folder: Path) -> str:
    try:
        answer = await _in_clone(folder, "ls-remote", "--symref", "--", url, "HEAD", remote=url)
    except Upstream:
        return ""
    first = answer.split("\n", 1)[0]
    return first.removeprefix("ref: refs/heads/").split("\t")[0] if first.startswith("ref: refs/heads/") else ""


async def _is_dirty(folder: Path, commit: str) -> bool:
    """Whether tracked files below `folder` differ from `commit`.

    `git status` runs content filters, and fetches what a partial clone lacks, by commands that .git/config names. So it
    is run on the folder's objects and index with a git directory of ours, that has a configuration of ours.
    """
    asked = ("--git-dir", "--git-common-dir", "--show-toplevel", "--show-object-format")
    where = (await _git(folder, "rev-parse", "--path-format=absolute", *asked)).split("\n")
    if len(where) != len(asked):
        return True  # a folder with a newline in its name
    own, common, top, object_format = where
    with tempfile.TemporaryDirectory(prefix="code-assistant-git-") as stand_in:
        _make_stand_in(Path(stand_in), Path(own), commit, object_format)
        paths = {
            "GIT_DIR": stand_in,
            "GIT_WORK_TREE": top,
            "GIT_OBJECT_DIRECTORY": f"{common}/objects",
            "GIT_INDEX_FILE": f"{own}/index",
            "GIT_OPTIONAL_LOCKS": "0",
        }
        words = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all", "--", ".")
        return bool(await _git(folder, *words, paths=paths))


def _make_stand_in(folder: Path, own: Path, commit: str, object_format: str) -> None:
    (folder / "refs").mkdir()
    (folder / "HEAD").write_text(f"{commit}\n")
    # Of the folder's own configuration only what its objects are named by. File modes are not content.
    (folder / "config").write_text(
        "[core]\n\trepositoryformatversion = 1\n\tfilemode = false\n\tbare = false\n"
        f"[extensions]\n\tobjectformat = {object_format}\n"
    )
    for shared in own.glob("sharedindex.*"):
        (folder / shared.name).symlink_to(shared)


async def _in_clone(folder: Path, *arguments: str, remote: str | None = None) -> str:
    # Stated, not discovered: where a killed `git init` left half a .git, git would take the repository that DATA_DIR
    # lies in, and check out and clean that one.
    paths = {"GIT_DIR": str(folder / ".git"), "GIT_WORK_TREE": str(folder)}
    return await _git(folder, *arguments, remote=remote, paths=paths)


async def _git(folder: Path, *arguments: str, remote: str | None = None, paths: Mapping[str, str] | None = None) -> str:
    timeout_s = FETCH_TIMEOUT_S if remote else LOCAL_TIMEOUT_S
    is_plain = remote is not None and remote.startswith("http:")
    process = await asyncio.create_subprocess_exec(
        "git",
        *SAFE_OPTIONS,
        # Of plain hosts the listed ones are asked, and none that they name.
        *(("-c", "http.followRedirects=false") if is_plain else ()),
        *arguments,
        cwd=folder,
        env=quiet_environment(os.environ, is_plain=is_plain) | dict(paths or {}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    except TimeoutError as exc:
        raise DeadlineExceeded(f"git {arguments[0]} did not end within {timeout_s:g} s") from exc
    finally:
        if process.returncode is None:
            # With its helpers: git-remote-https would wait on for its server.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        message, logged = _messages(arguments, process.returncode, err.decode("utf-8", "replace"), remote)
        raise Upstream(message, logged=logged)
    return out.decode("utf-8", "replace").strip()


def _messages(arguments: Sequence[str], code: int, said: str, remote: str | None) -> tuple[str, str]:
    """(for the caller, in git's words; for the log, without them and the address: a query of it may hold a key)."""
    shown = without_credentials(remote) if remote else ""
    if remote:
        said = said.replace(remote, shown)
    message = f"git {arguments[0]} {shown} failed: {said.strip()[-_SHOWN_CHARS:]}".replace("  ", " ")
    return message, f"git {arguments[0]} failed with code {code}"


def quiet_environment(own: Mapping[str, str], *, is_plain: bool) -> dict[str, str]:
    """Ours without what would redirect git, and with all that makes it silent."""
    kept = {name: value for name, value in own.items() if not name.startswith("GIT_")}
    return {
        **kept,
        "GIT_TERMINAL_PROMPT": "0",
        # http only where it was asked for and allowed: no https server may lead us to it.
        "GIT_ALLOW_PROTOCOL": "http" if is_plain else "https:ssh",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "LC_ALL": "C",
    }
