"""The command line as a user and a script see it, against a live server with canned answers."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rag_app.cli.estimate import BYTES_PER_CHUNK
from rag_app.cli.main import main
from rag_app.cli.stack import own_server
from service_kit.app import create_service
from service_kit.metrics import HttpMetrics
from tests.support.fake_rag import FakeRag, citation, failure, hit, repository
from tests.support.live import free_port, live


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@dataclass
class Cli:
    """Runs `code-assistant` against `url`."""

    url: str
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--server", self.url])
        captured = self.capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int | None)
        return Outcome(code or 0, captured.out, captured.err)


@pytest.fixture
def rag() -> FakeRag:
    return FakeRag()


@pytest.fixture
def cli(rag: FakeRag, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    with live(rag.app()) as url:
        yield Cli(url, capsys)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")


def test_a_piped_search_prints_every_line_of_every_hit_as_grep_does(cli: Cli, rag: FakeRag) -> None:
    rag.hits = [hit("a.py", 3, "def f():\n    pass"), hit("b.py", 1, "x = 1")]
    found = cli("search", "f")
    assert found == Outcome(0, "a.py:3:def f():\na.py:4:    pass\nb.py:1:x = 1\n", "")


def test_line_numbers_in_a_pipe_are_an_editors_whatever_odd_characters_the_code_holds(cli: Cli, rag: FakeRag) -> None:
    rag.hits = [hit("a.py", 3, "x = '\x0c\u2028'\r\ny = 1")]
    assert cli("search", "f").out == "a.py:3:x = '\x0c\u2028'\na.py:4:y = 1\n"


def test_a_chunk_whose_last_lines_are_blank_shows_every_line_that_its_heading_names(cli: Cli, rag: FakeRag) -> None:
    rag.hits = [hit("a.py", 3, "x = 1\n\n")]
    assert cli("search", "x").out == "a.py:3:x = 1\na.py:4:\na.py:5:\n"


def test_blank_lines_at_the_end_of_a_chunk_have_their_numbers_on_a_terminal_too(
    cli: Cli, rag: FakeRag, terminal: None
) -> None:
    rag.hits = [hit("a.py", 3, "x = 1\n\n")]
    shown = re.sub(r"\x1b\[[0-9;]*m", "", cli("search", "x").out)
    assert [line.split()[0] for line in shown.splitlines()[1:] if line.strip()] == ["3", "4", "5"]


def test_nothing_is_cut_or_wrapped_in_a_pipe_however_narrow_the_terminal_was(
    cli: Cli, rag: FakeRag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    path = "folder/" * 30 + "a.py"
    rag.hits, rag.citations = [hit(path, 1, "x = " + "1 + " * 300 + "1")], [citation(1, path, 1, 1)]
    rag.repositories = [repository(name="n" * 100)]
    assert f"{path}:1:x = {'1 + ' * 300}1\n" == cli("search", "x").out
    assert f"[1] {path}:1-1  {'n' * 100}@0123456789\n" in cli("ask", "q").out
    assert cli("repos").out.count("\n") == 1
    assert f"{'n' * 100}: ready, 24 files, 310 chunks\n" in cli("status").out
    assert len(cli("search", "x", "--repo", "z" * 200).err.splitlines()) == 1


def test_a_search_on_a_terminal_names_lines_symbol_and_shows_highlighted_code(cli: Cli, terminal: None) -> None:
    found = cli("search", "template", "--explain")
    assert "src/app.py:10-15" in found.out
    assert "find_template" in found.out
    assert "sparse 0.900" in found.out
    assert "\x1b[" in found.out  # colours


def test_escape_sequences_in_a_repositorys_code_never_reach_the_terminal(
    cli: Cli, rag: FakeRag, terminal: None
) -> None:
    rag.hits = [hit("a.py", 1, "x = '\x1b]0;owned\x07'", symbol="\x1b[2Jx")]
    assert "\x1b]0;" not in cli("search", "x").out
    assert "\x1b[2J" not in cli("search", "x").out


def test_filters_limit_and_mode_reach_the_server_with_the_repositorys_id(cli: Cli, rag: FakeRag) -> None:
    cli("search", "x", "--repo", "flask", "--lang", "python", "--path", "src/", "--limit", "3", "--mode", "symbol")
    assert rag.asked("/v1/search") == {
        "query": "x", "repositories": ["r1"], "languages": ["python"], "paths": ["src/"], "limit": 3,
        "mode": "symbol", "explain": False,
    }  # fmt: skip


def test_an_unknown_repository_is_an_error_that_names_those_that_exist(cli: Cli) -> None:
    found = cli("search", "x", "--repo", "django")
    assert (found.code, found.out) == (2, "")
    assert "'django'" in found.err
    assert "flask" in found.err


def test_json_is_what_the_server_said(cli: Cli, rag: FakeRag) -> None:
    assert json.loads(cli("search", "x", "--json").out)["hits"] == rag.hits


def test_nothing_found_is_exit_code_1_and_says_so(cli: Cli, rag: FakeRag) -> None:
    rag.hits = []
    assert cli("search", "x") == Outcome(1, "", "nothing found\n")
    rag.repositories = []
    assert "nothing is indexed yet" in cli("search", "x").err


def test_a_refusal_is_the_servers_sentence_and_exit_code_2(cli: Cli, rag: FakeRag) -> None:
    rag.failure = failure(422, "validation", "limit: must be at most 100 (given: 10000)")
    assert cli("search", "x", "--limit", "10000") == Outcome(2, "", "limit: must be at most 100 (given: 10000)\n")


def test_a_degraded_search_says_so_on_standard_error(cli: Cli, rag: FakeRag) -> None:
    rag.degraded = ["embedding"]
    assert "only keywords were matched" in cli("search", "x").err


def test_explained_piped_hits_begin_with_a_comment_line(cli: Cli, rag: FakeRag) -> None:
    rag.hits = [hit("a.py", 3, "x = 1")]
    assert cli("search", "x", "--explain").out.splitlines() == [
        "# score=0.8710 dense=0.8000 sparse=0.9000 a.py:3-3",
        "a.py:3:x = 1",
    ]


def test_no_server_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    found = Cli(url, capsys)("search", "x")
    assert found == Outcome(2, "", f"no server at {url}; start it with `code-assistant up`\n")


@pytest.mark.parametrize("url", ["nonsense", "", "http://[::1", "http://host:port"])
def test_an_address_that_is_none_is_said_in_words(capsys: pytest.CaptureFixture[str], url: str) -> None:
    found = Cli(url, capsys)("search", "x")
    assert found.code == 2
    assert f"{url!r} is no address" in found.err


def test_another_service_of_ours_at_the_address_is_told_from_a_code_assistant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def readiness() -> list[object]:
        return []

    other = create_service("llm_service", readiness=readiness, metrics=HttpMetrics("other"), max_body_bytes=1000)
    with live(other) as url:
        found = Cli(url, capsys)("search", "x")
    assert found.code == 2
    assert f"{url} answers, but it is no Code Assistant" in found.err


def test_words_that_are_no_text_in_this_terminals_encoding_are_refused_in_words(cli: Cli, rag: FakeRag) -> None:
    for arguments in (["search", "caf\udce9"], ["ask", "\udcff"], ["search", "x", "--path", "\udcff/"]):
        refused = cli(*arguments)
        assert refused.code == 2
        assert "is not UTF-8" in refused.err
    assert rag.requests == []


def test_the_server_can_be_given_by_the_environment(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CODE_ASSISTANT_URL", cli.url)
    with pytest.raises(SystemExit):
        main(["search", "x"])
    assert "src/app.py:10:" in capsys.readouterr().out


def test_without_an_address_the_server_of_the_settings_is_asked(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CODE_ASSISTANT_URL", "RAG_HOST", "RAG_PORT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text(f"RAG_PORT={cli.url.rpartition(':')[2]}\n")
    with pytest.raises(SystemExit):
        main(["search", "x"])
    assert "src/app.py:10:" in capsys.readouterr().out
    monkeypatch.setenv("RAG_PORT", str(free := free_port()))
    monkeypatch.setenv("RAG_HOST", "0.0.0.0")
    with pytest.raises(SystemExit):
        main(["search", "x"])
    assert f"no server at http://127.0.0.1:{free}" in capsys.readouterr().err


def test_an_address_of_ipv6_is_written_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_HOST", "::1")
    monkeypatch.setenv("RAG_PORT", "8123")
    assert own_server() == "http://[::1]:8123"


@pytest.mark.parametrize("command", [["search", "x"], ["up"]])
def test_a_setting_that_cannot_be_is_told_in_a_sentence(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CODE_ASSISTANT_URL", raising=False)
    monkeypatch.setenv("RAG_PORT", "eighty")
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert "RAG_PORT=eighty: Input should be a valid integer" in capsys.readouterr().err


def test_an_unknown_option_is_exit_code_2(cli: Cli) -> None:
    assert cli("search", "x", "--nonsense").code == 2


def test_ask_prints_the_answer_and_then_what_it_cites(cli: Cli) -> None:
    answered = cli("ask", "where are templates found?")
    assert answered.code == 0
    assert answered.out.splitlines() == [
        "Templates are found by `find_template` [1].",
        "",
        "[1] src/app.py:12-14  flask@0123456789",
    ]


def test_ask_streams_the_answer_as_it_is_written(rag: FakeRag) -> None:
    rag.pieces, rag.may_go_on = ["first ", "second"], threading.Event()
    with live(rag.app()) as url:
        asked = subprocess.Popen(
            [sys.executable, "-m", "rag_app.cli.main", "ask", "q", "--server", url], stdout=subprocess.PIPE
        )
        assert asked.stdout is not None
        assert asked.stdout.read(6) == b"first "
        rag.may_go_on.set()
        assert asked.communicate(timeout=20)[0].startswith(b"second")


def test_a_final_answer_that_differs_from_what_was_streamed_is_shown(cli: Cli, rag: FakeRag) -> None:
    rag.pieces, rag.final = ["See [1] and [9]."], "See [1]."
    assert "\n\nSee [1].\n" in cli("ask", "q").out


def test_an_extractive_answer_names_the_settings_that_change_it(cli: Cli, rag: FakeRag) -> None:
    rag.degraded = ["llm"]
    err = cli("ask", "q").err
    assert "OPENAI_API_KEY" in err
    assert "LLM_BASE_URL" in err


def test_an_abstained_answer_is_exit_code_1(cli: Cli, rag: FakeRag) -> None:
    rag.abstained, rag.citations, rag.pieces = True, [], ["Nothing relevant was found."]
    answered = cli("ask", "q")
    assert answered == Outcome(1, "Nothing relevant was found.\n", "")


def test_an_error_amid_the_stream_is_told_with_exit_code_2(cli: Cli, rag: FakeRag) -> None:
    rag.stream_error = {"error": {"code": "timeout", "message": "no answer within 120 s"}}
    answered = cli("ask", "q")
    assert answered.code == 2
    assert answered.err == "no answer within 120 s\n"


def test_a_stream_that_breaks_off_is_an_error_and_no_answer(cli: Cli, rag: FakeRag) -> None:
    rag.breaks_off = True
    answered = cli("ask", "q")
    assert answered.code == 2
    assert "broke off" in answered.err


def test_ask_in_json_is_the_unstreamed_answer(cli: Cli, rag: FakeRag) -> None:
    assert json.loads(cli("ask", "q", "--json").out)["citations"] == rag.citations
    assert rag.asked("/v1/ask") == {"question": "q", "stream": False}


def test_generated_code_alone_goes_to_standard_output(cli: Cli, rag: FakeRag) -> None:
    made = cli("generate", "a function", "--language", "python", "--into", "src/made.py")
    assert (made.code, made.out) == (0, "def made() -> int:\n    return 1\n")
    assert "src/app.py:12-14" in made.err
    assert rag.asked("/v1/generate") == {"instruction": "a function", "language": "python", "path": "src/made.py"}
    assert json.loads(cli("generate", "a function", "--json").out)["checks"] == {"parses": True, "repaired": False}


def test_generated_code_that_does_not_parse_is_exit_code_1(cli: Cli, rag: FakeRag) -> None:
    rag.parses = False
    made = cli("generate", "a function")
    assert made.code == 1
    assert "does not parse" in made.err


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


def test_repos_lists_one_line_each_with_tabs_in_a_pipe(cli: Cli) -> None:
    listed = cli("repos")
    assert listed.code == 0
    assert listed.out.split("\t")[:6] == ["flask", "ready", "24", "310", "main", "0123456789"]


def test_repos_on_a_terminal_is_a_table(cli: Cli, terminal: None) -> None:
    listed = cli("repos").out
    assert "name" in listed
    assert "/src/flask" in listed


def test_repos_of_an_empty_index_is_exit_code_1(cli: Cli, rag: FakeRag) -> None:
    rag.repositories = []
    assert cli("repos").code == 1
    assert json.loads(cli("repos", "--json").out) == []


def test_a_repository_is_deleted_by_its_name(cli: Cli, rag: FakeRag) -> None:
    deleted = cli("repos", "delete", "flask")
    assert deleted.code == 0
    assert rag.requests[-1][:2] == ("DELETE", "/v1/repositories/r1")


def test_a_repository_is_synced_by_its_name(cli: Cli, rag: FakeRag) -> None:
    assert "indexed flask" in cli("repos", "sync", "flask").err
    assert "job j1" in cli("repos", "sync", "flask", "--no-wait").err


def test_status_tells_readiness_checks_and_repositories(cli: Cli, rag: FakeRag) -> None:
    told = cli("status")
    assert told.code == 0
    assert "ok qdrant" in told.out
    assert "flask: ready, 24 files, 310 chunks" in told.out
    rag.is_ready = False
    unready = cli("status")
    assert unready.code == 1
    assert "not ready" in unready.out
    assert json.loads(cli("status", "--json").out)["status"] == "not_ready"


def test_doctor_reports_the_machine_and_the_running_server(cli: Cli, rag: FakeRag) -> None:
    told = cli("doctor")
    assert told.code == 0
    for looked_at in ("python", "git", "model", "disk", "server", "qdrant"):
        assert f"{looked_at}: " in told.out
    rag.is_ready = False
    assert cli("doctor").code == 1


def test_doctor_without_a_server_names_the_setting_of_a_taken_port(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with live(FakeRag().app()) as url:
        monkeypatch.setenv("LLM_PORT", url.rpartition(":")[2])
        told = Cli(f"http://127.0.0.1:{free_port()}", capsys)("doctor", "--json")
    port = next(found for found in json.loads(told.out) if found["name"] == f"port {url.rpartition(':')[2]}")
    assert not port["ok"]
    assert "LLM_PORT" in port["detail"]
    assert told.code == 1


def test_doctor_names_the_command_that_installs_a_missing_model(cli: Cli) -> None:
    findings = json.loads(cli("doctor", "--json", "--model-package", "no_such_package").out)
    model = next(finding for finding in findings if finding["name"] == "model")
    assert not model["ok"]
    assert "make setup" in model["detail"]


def test_a_pipe_that_closes_ends_the_search_quietly(rag: FakeRag) -> None:
    rag.hits = [hit("a.py", 1, "x = 1\n" * 20_000)] * 5
    with live(rag.app()) as url:
        command = f"{sys.executable} -m rag_app.cli.main search x --server {url} | head -1"
        ended = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("a.py:1:x = 1\n", "")


def test_ctrl_c_ends_a_command_with_130_and_no_traceback(rag: FakeRag) -> None:
    rag.delay_s = 30
    with live(rag.app()) as url:
        command = [sys.executable, "-m", "rag_app.cli.main", "ask", "q", "--server", url]
        asked = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ})
        deadline = time.monotonic() + 30
        while not rag.requests:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        asked.send_signal(signal.SIGINT)
        _, err = asked.communicate(timeout=20)
    assert (asked.returncode, err) == (130, b"")


def test_ctrl_c_while_python_still_imports_is_130_and_quiet_too(rag: FakeRag) -> None:
    rag.delay_s = 30
    with live(rag.app()) as url:
        command = [sys.executable, "-X", "importtime", "-m", "rag_app.cli.main", "ask", "q", "--server", url]
        asked = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert asked.stderr is not None
        assert any("typer" in line for line in asked.stderr)  # the first of many that are imported
        asked.send_signal(signal.SIGINT)
        _, err = asked.communicate(timeout=20)
    assert asked.returncode == 130
    assert "Traceback" not in err
    assert rag.requests == []
