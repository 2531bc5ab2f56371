"""`code-assistant search`, and how the server is found."""

import json
import re
from pathlib import Path

import pytest

from rag_app.cli.main import main
from rag_app.cli.stack import own_server
from service_kit.app import create_service
from service_kit.metrics import HttpMetrics
from tests.support.cli import Cli, Outcome
from tests.support.fake_rag import FakeRag, citation, failure, hit, repository
from tests.support.live import free_port, live


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


def test_a_rank_is_a_whole_number(cli: Cli, rag: FakeRag, terminal: None) -> None:
    rag.hits = [hit("a.py", 3, "x = 1", scores={"dense_rank": 12.0, "dense": 0.5})]
    assert "dense 0.500  dense_rank 12\n" in re.sub("\x1b[^m]*m", "", cli("search", "x", "--explain").out)


def test_an_explained_search_tells_first_how_the_query_was_read(cli: Cli, rag: FakeRag) -> None:
    filters = {"languages": ["go"], "paths": [], "symbols": [], "repositories": []}
    rag.hits = [hit("a.py", 3, "x = 1", scores={"dense_rank": 2.0})]
    rag.query = {"kind": "error", "text": "a\nb", "filters": filters, "weights": {}, "weights_from": "repository"}
    assert cli("search", "x", "--explain").out.splitlines() == [
        '# query kind=error text="a\\nb" filters={"languages": ["go"]} weights=repository',
        "# score=0.8710 dense_rank=2 a.py:3-3",
        "a.py:3:x = 1",
    ]
    assert "# query" not in cli("search", "x").out


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
