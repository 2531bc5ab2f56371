"""`code-assistant index`, and what a terminal makes of the output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rag_app.cli.estimate import BYTES_PER_CHUNK
from tests.support.cli import Cli
from tests.support.fake_rag import FakeRag, hit, repository
from tests.support.live import live


def test_index_sends_the_absolute_folder_and_waits_for_the_job(
    cli: Cli, rag: FakeRag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("x = 1\n" * 250)
    monkeypatch.chdir(tmp_path)
    indexed = cli("index", "code", "--name", "mine")
    assert indexed.code == 0
    path = str((tmp_path / "code").resolve())
    assert ("POST", "/v1/repositories", {"source": {"type": "path", "path": path}, "name": "mine"}) in rag.requests
    assert "1 files, about 4 chunks" in indexed.err  # said before it begins
    assert "indexed mine: 12 files, 150 chunks (100 embedded, 50 reused) in 3.0 s" in indexed.err


def test_index_of_a_known_folder_renews_it(cli: Cli, rag: FakeRag, tmp_path: Path) -> None:
    rag.repositories = [repository("r7", "known", source={"type": "path", "path": str(tmp_path.resolve())})]
    indexed = cli("index", str(tmp_path))
    assert indexed.code == 0
    assert "only what changed" in indexed.err
    assert ("POST", "/v1/repositories/r7/sync", {}) in rag.requests


def test_index_of_a_folder_that_was_broken_off_goes_on_with_an_estimate(cli: Cli, rag: FakeRag, tmp_path: Path) -> None:
    source = {"type": "path", "path": str(tmp_path.resolve())}
    rag.repositories = [repository("r7", "half", source=source, indexed_at=None, state="failed")]
    err = cli("index", str(tmp_path)).err
    assert "half was not indexed to its end" in err
    assert "0 files, about 0 chunks" in err


def test_long_lines_are_wrapped_and_not_cut_on_a_narrow_terminal(
    cli: Cli, rag: FakeRag, monkeypatch: pytest.MonkeyPatch, terminal: None
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    rag.hits = [hit("a.py", 1, "x = " + "value + " * 20 + "last")]
    assert "last" in cli("search", "x").out


def test_a_closed_standard_output_is_no_failure(rag: FakeRag) -> None:
    with live(rag.app()) as url:
        command = f"{sys.executable} -m rag_app.cli.main search x --server {url} >&-"
        ended = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_characters_that_the_terminal_cannot_show_are_replaced(rag: FakeRag) -> None:
    rag.hits = [hit("a.py", 1, "x = 'é→'")]
    with live(rag.app()) as url:
        command = [sys.executable, "-m", "rag_app.cli.main", "search", "x", "--server", url]
        shown = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, b"a.py:1:x = '??'\n", b"")


def test_index_of_an_empty_name_is_not_this_very_folder(cli: Cli, rag: FakeRag) -> None:
    refused = cli("index", "")
    assert refused.code == 2
    assert "name a folder or a git URL" in refused.err
    assert rag.requests == []


@pytest.mark.parametrize("url", ["https://example.org/a/b.git", "git@example.org:a/b.git", "ssh://example.org/a"])
def test_a_git_url_is_sent_as_one(cli: Cli, rag: FakeRag, url: str) -> None:
    queued = cli("index", url, "--ref", "v1", "--no-wait")
    assert queued.code == 0
    assert "job j1" in queued.err
    assert rag.asked("/v1/repositories") == {"source": {"type": "git", "url": url}, "ref": "v1"}


def test_index_of_what_is_no_folder_is_refused_before_the_server_is_asked(cli: Cli, rag: FakeRag) -> None:
    refused = cli("index", "no/such/folder")
    assert refused.code == 2
    assert "'no/such/folder' is neither a folder" in refused.err
    assert rag.requests == []


def test_a_job_that_fails_is_told_with_its_reason(cli: Cli, rag: FakeRag, tmp_path: Path) -> None:
    rag.job_states, rag.job_error = ["running", "failed"], {"code": "unavailable", "message": "Qdrant is down"}
    failed = cli("index", str(tmp_path))
    assert failed.code == 2
    assert "Qdrant is down" in failed.err


def test_index_in_json_ends_with_the_job_and_the_repository(cli: Cli, tmp_path: Path) -> None:
    answer = json.loads(cli("index", str(tmp_path), "--json").out)
    assert answer["job"]["state"] == "succeeded"
    assert answer["repository"]["state"] == "ready"


def test_progress_on_a_terminal_shows_files_chunks_rate_and_time_left(
    cli: Cli, rag: FakeRag, tmp_path: Path, terminal: None
) -> None:
    rag.job_states = ["queued", "running", "succeeded"]
    (tmp_path / "a.py").write_text("#" * 300 * BYTES_PER_CHUNK)
    err = cli("index", str(tmp_path)).err
    assert "12/24 files, 150 chunks, 50 chunks/s, about 3.0 s left" in err
