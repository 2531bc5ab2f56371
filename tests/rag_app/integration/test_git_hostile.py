"""Repositories and servers that mean harm, or were left half done: what git does with them on our behalf."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rag_app.features.indexing import git as git_program
from rag_app.features.indexing.git import head_of, update_clone
from service_kit.errors import DeadlineExceeded, Upstream
from tests.support.indexing import git


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    """A repository of one commit whose file git cannot know to be unchanged without reading it."""
    folder = tmp_path / "tree"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "sub").mkdir()
    (folder / "sub" / "a.py").write_text("a = 1\n")
    (folder / ".gitattributes").write_text("*.py filter=evil\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    (folder / "sub" / "a.py").touch()
    return folder


@pytest.mark.parametrize(
    "setting", ["filter.evil.clean", "filter.evil.process", "core.fsmonitor", "core.sshCommand", "credential.helper"]
)
async def test_no_command_that_a_folders_configuration_names_is_ever_run(
    work_tree: Path, tmp_path: Path, setting: str
) -> None:
    git(work_tree, "config", setting, f"touch {tmp_path}/owned; cat")
    assert await head_of(work_tree) == await head_of(work_tree / "sub")
    assert not (tmp_path / "owned").exists()


async def test_nor_one_of_a_file_that_it_includes_or_of_its_hooks(work_tree: Path, tmp_path: Path) -> None:
    (tmp_path / "more").write_text(f'[filter "evil"]\n\tclean = "touch {tmp_path}/owned; cat"\n')
    git(work_tree, "config", "include.path", str(tmp_path / "more"))
    for name in ("post-index-change", "post-checkout", "reference-transaction"):
        hook = work_tree / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/owned\n")
        hook.chmod(0o755)
    assert (await head_of(work_tree)).ref == "main"
    assert not (tmp_path / "owned").exists()


async def test_a_partial_clone_fetches_nothing_when_it_is_looked_at(work_tree: Path, tmp_path: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{server.getsockname()[1]}/x"
    for setting in (("core.repositoryformatversion", "1"), ("extensions.partialClone", "origin"),
                    ("remote.origin.url", url), ("remote.origin.promisor", "true")):  # fmt: skip
        git(work_tree, "config", *setting)
    commit = git(work_tree, "rev-parse", "HEAD")
    (work_tree / ".git" / "objects" / commit[:2] / commit[2:]).unlink()
    head = await head_of(work_tree)
    assert (head.commit, head.is_dirty) == (commit, True)  # nobody can tell
    server.settimeout(0)
    with pytest.raises(BlockingIOError):
        server.accept()
    server.close()


async def test_the_index_of_a_folder_is_not_rewritten(work_tree: Path) -> None:
    index = work_tree / ".git" / "index"
    before = index.read_bytes()
    await head_of(work_tree)
    assert index.read_bytes() == before


@pytest.mark.parametrize("kind", ["plain", "sha256", "split", "worktree", "folder", "detached"])
async def test_dirt_is_seen_in_every_kind_of_work_tree(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    git(folder, "init", "-q", *(["--object-format=sha256"] if kind == "sha256" else []))
    (folder / "lib").mkdir()
    (folder / "lib" / "a.py").write_text("a = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    if kind == "split":
        git(folder, "update-index", "--split-index")
    elif kind == "worktree":
        git(folder, "worktree", "add", "-q", "-b", "feature/x", str(tmp_path / "other"))
        folder = tmp_path / "other"
    elif kind == "detached":
        git(folder, "checkout", "-q", "--detach")
    looked_at = folder / "lib" if kind == "folder" else folder
    clean = await head_of(looked_at)
    assert clean.ref == {"worktree": "feature/x", "detached": ""}.get(kind, "main")
    assert (clean.commit, clean.is_dirty) == (git(folder, "rev-parse", "HEAD"), False)
    (folder / "lib" / "a.py").write_text("a = 22\n")
    assert (await head_of(looked_at)).is_dirty


async def test_dirt_beside_the_folder_that_is_indexed_is_not_its_own(work_tree: Path) -> None:
    (work_tree / ".gitattributes").write_text("")
    assert (await head_of(work_tree)).is_dirty
    assert not (await head_of(work_tree / "sub")).is_dirty


async def test_a_clone_whose_making_was_killed_never_touches_the_repository_around_it(work_tree: Path) -> None:
    mine = work_tree / "mine.py"
    mine.write_text("precious = True\n")
    clone = work_tree / ".data" / "clones" / "x"
    (clone / ".git").mkdir(parents=True)
    with pytest.raises(Upstream):
        await update_clone("https://127.0.0.1:1/lib.git", None, clone)
    assert mine.exists()
    assert git(work_tree, "status", "--porcelain", "--", "mine.py") == "?? mine.py"
    assert not (work_tree / ".git" / "FETCH_HEAD").exists()


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def take() -> None:
        while True:
            try:
                held.append(server.accept()[0])
            except OSError:
                return

    threading.Thread(target=take, daemon=True).start()
    yield server.getsockname()[1]
    server.close()
    for connection in held:
        connection.close()


async def test_a_server_that_never_answers_is_given_up_with_all_of_gits_helpers(
    silent_server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_program, "FETCH_TIMEOUT_S", 1.0)
    url = f"http://127.0.0.1:{silent_server}/lib.git"
    with pytest.raises(DeadlineExceeded, match="git fetch did not end within 1 s"):
        await update_clone(url, None, tmp_path / "clone")
    assert _processes_with(url) == []


def _processes_with(word: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line:
            found.append(line)
    return found


async def test_a_listed_server_cannot_lead_to_one_that_is_not(tmp_path: Path) -> None:
    asked: list[str] = []

    class Secret(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *words: object) -> None:
            return None

    secret = ThreadingHTTPServer(("127.0.0.1", 0), Secret)

    class Listed(Secret):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{secret.server_port}{self.path}")
            self.end_headers()

    listed = ThreadingHTTPServer(("127.0.0.1", 0), Listed)
    for server in (secret, listed):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.raises(Upstream):
        await update_clone(f"http://127.0.0.1:{listed.server_port}/lib.git", None, tmp_path / "clone")
    for server in (secret, listed):
        server.shutdown()
        server.server_close()
    assert asked == []


async def test_locks_that_a_killed_git_left_in_a_clone_do_not_stop_the_next(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    git(clone, "init", "-q")
    for name in ("index.lock", "shallow.lock", "config.lock"):
        (clone / ".git" / name).touch()
    with pytest.raises(Upstream, match=r"Failed to connect|refused|Couldn't connect"):
        await update_clone("https://127.0.0.1:1/lib.git", None, clone)
    assert list((clone / ".git").glob("*.lock")) == []
