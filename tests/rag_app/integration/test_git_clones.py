"""Cloning over real HTTP: git's own smart server behind a few lines of Python."""

import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rag_app.db.records import Source
from rag_app.features.indexing.git import head_of, update_clone
from service_kit.errors import Upstream, ValidationFailed
from tests.support.indexing import Indexer, git, running_indexer

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """A work tree whose .git is served as /lib.git."""
    folder = tmp_path / "served" / "lib.git"
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    commit(folder, "a.py", "a = 1\n")
    return folder


def commit(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", name)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def server(upstream: Path) -> Iterator[str]:
    """host:port of `git http-backend` over the parent of `upstream`."""

    class Backend(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            env = {
                "GIT_PROJECT_ROOT": str(upstream.parent), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
                "QUERY_STRING": query, "REQUEST_METHOD": self.command, "PATH": os.environ["PATH"],
                "CONTENT_TYPE": self.headers.get("content-type", ""), "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
                "GIT_PROTOCOL": self.headers.get("git-protocol", ""), "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
            }  # fmt: skip
            answer = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True).stdout
            head, _, rest = answer.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(rest)

        do_POST = do_GET

        def log_message(self, *words: object) -> None:
            return None

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
async def indexer(tmp_path: Path, server: str) -> AsyncIterator[Indexer]:
    async with running_indexer(tmp_path, git_allowed_hosts=f"other:1,{server}") as indexer:
        yield indexer


async def test_a_repository_is_cloned_indexed_and_fetched_again(indexer: Indexer, server: str, upstream: Path) -> None:
    source = Source("git", f"http://{server}/lib.git")
    repository, job = await indexer.service.register(source)
    repository, job = await indexer.finished(job)
    assert (job.state, job.error) == ("succeeded", None)
    assert (repository.name, repository.ref) == ("lib", "main")
    assert repository.commit == git(upstream, "rev-parse", "HEAD")
    assert [chunk.text for chunk in await indexer.chunks(repository.id)] == ["a = 1"]

    newer = commit(upstream, "b.py", "b = 2\n")
    (upstream / "a.py").unlink()
    newer = commit(upstream, "c.py", "c = 3\n")
    again, job = await indexer.service.register(source)
    again, job = await indexer.finished(job)
    assert (again.id, again.commit) == (repository.id, newer)
    assert [chunk.text for chunk in await indexer.chunks(repository.id)] == ["b = 2", "c = 3"]

    clone = indexer.settings.data_dir / "clones" / repository.id
    assert clone.is_dir()
    await indexer.service.delete(repository.id, frozenset({repository.id}))
    assert not clone.exists()


async def test_a_branch_a_tag_and_a_commit_are_fetched_by_name(upstream: Path, server: str, tmp_path: Path) -> None:
    first = git(upstream, "rev-parse", "HEAD")
    git(upstream, "tag", "v1")
    git(upstream, "checkout", "-qb", "feature/x")
    second = commit(upstream, "b.py", "b = 2\n")
    url = f"http://{server}/lib.git"
    clone = tmp_path / "clone"
    assert (await update_clone(url, "feature/x", clone)).commit == second
    assert (await update_clone(url, "v1", clone)).commit == first
    git(upstream, "config", "uploadpack.allowAnySHA1InWant", "true")
    head = await update_clone(url, second, clone)
    assert (head.commit, head.ref) == (second, second)
    assert (clone / "b.py").exists()


async def test_a_failed_fetch_is_told_in_gits_words_and_keeps_the_index(
    indexer: Indexer, server: str, upstream: Path
) -> None:
    repository, job = await indexer.service.register(Source("git", f"http://{server}/lib.git"))
    await indexer.finished(job)
    (upstream / ".git").rename(upstream / "gone")
    _, job = await indexer.service.sync(repository.id, frozenset({repository.id}))
    repository, job = await indexer.finished(job)
    assert job.error is not None
    assert job.error.code == "upstream"
    assert "not found" in job.error.message
    assert len(await indexer.chunks(repository.id)) == 1


async def test_an_unknown_ref_is_told(indexer: Indexer, server: str) -> None:
    _, job = await indexer.service.register(Source("git", f"http://{server}/lib.git"), ref="nowhere")
    _, job = await indexer.finished(job)
    assert job.error is not None
    assert "nowhere" in job.error.message


async def test_a_plain_http_host_that_is_not_listed_is_never_asked(indexer: Indexer) -> None:
    with pytest.raises(ValidationFailed, match="only https and ssh"):
        await indexer.service.register(Source("git", "http://127.0.0.1:1/lib.git"))
    assert indexer.manifest.all_ids() == frozenset()


async def test_git_is_held_to_its_protocols_whatever_it_is_asked(upstream: Path, tmp_path: Path) -> None:
    for url in (f"file://{upstream}", str(upstream), f"ext::sh -c 'touch {tmp_path}/owned'"):
        with pytest.raises(Upstream, match="not allowed"):
            await update_clone(url, None, tmp_path / "clone")
    assert not (tmp_path / "owned").exists()


async def test_hooks_and_filters_of_a_folder_are_not_run(upstream: Path, tmp_path: Path) -> None:
    git(upstream, "config", "core.fsmonitor", f"touch {tmp_path}/owned")
    head = await head_of(upstream)
    assert head.ref == "main"
    assert not (tmp_path / "owned").exists()


async def test_a_folder_that_is_not_gits_has_no_head(tmp_path: Path) -> None:
    assert (await head_of(tmp_path)).commit == ""
    git(tmp_path, "init", "-q")
    assert (await head_of(tmp_path)).commit == ""


async def test_a_detached_head_has_a_commit_and_no_branch(upstream: Path) -> None:
    git(upstream, "checkout", "-q", "--detach")
    head = await head_of(upstream)
    assert (head.ref, len(head.commit), head.is_dirty) == ("", 40, False)


async def test_where_git_needs_a_password_nobody_is_asked(server: str, tmp_path: Path) -> None:
    with pytest.raises(Upstream, match="git fetch"):
        await update_clone(f"http://{server}/private.git", None, tmp_path / "clone")


async def test_credentials_in_an_address_do_not_reach_a_message(tmp_path: Path) -> None:
    with pytest.raises(Upstream) as failure:
        await update_clone("https://me:hunter2@127.0.0.1:1/lib.git", None, tmp_path / "clone")
    assert "hunter2" not in failure.value.message
