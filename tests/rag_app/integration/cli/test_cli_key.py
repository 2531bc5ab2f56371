"""`code-assistant key`, and commands against a server that asks for one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_app.cli.main import main
from rag_app.core.settings import RagSettings
from rag_app.main import guarded_by
from tests.support.cli import Cli
from tests.support.fake_rag import FakeRag
from tests.support.guarded import KEY, guard
from tests.support.live import live

COMMANDS = [["search", "x"], ["ask", "x"], ["generate", "x"], ["repos"], ["repos", "sync", "flask"], ["index", "."]]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CODE_ASSISTANT_URL", "RAG_HOST", "RAG_PORT", "RAG_API_KEY", "RAG_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def guarded(rag: FakeRag, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    with live(guard(rag.app())) as url:
        yield Cli(url, capsys)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_key_a_command_says_in_one_sentence_what_to_do(guarded: Cli, command: list[str]) -> None:
    ended = guarded(*command)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    assert "asks for a key; set RAG_API_KEY to what `code-assistant key` prints" in ended.err
    assert "docker compose exec rag-server code-assistant key" in ended.err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_with_the_key_every_command_works(guarded: Cli, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_API_KEY", KEY)
    ended = guarded(*command)
    assert ended.code == 0, ended.err
    assert KEY not in ended.out + ended.err


def test_the_key_may_stand_in_a_file(guarded: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("RAG_API_KEY_FILE", str(tmp_path / "key"))
    assert guarded("search", "x").code == 0
    (tmp_path / "key").unlink()
    missing = guarded("search", "x")
    assert missing.code == 2
    assert "RAG_API_KEY_FILE: cannot read" in missing.err


def test_another_key_is_told_from_none_and_not_shown(guarded: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_API_KEY", f"{KEY}-old")
    ended = guarded("search", "x")
    assert ended.code == 2
    assert "refuses the key that is set here" in ended.err
    assert KEY not in ended.err


def test_the_key_that_this_machines_server_has_made_is_found(
    guarded: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "api_key").write_text(f"{KEY}\n")
    assert guarded("search", "x").code == 2  # the server of another port: not ours
    monkeypatch.setenv("RAG_PORT", guarded.url.rpartition(":")[2])
    assert guarded("search", "x").code == 0


def test_status_and_doctor_say_what_the_key_is_missing_for(guarded: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert guarded("status").code == 2
    findings = {found["name"]: found for found in json.loads(guarded("doctor", "--json").out)}
    assert not findings["key"]["ok"]
    assert "asks for a key" in findings["key"]["detail"]
    assert findings["server"]["ok"]
    monkeypatch.setenv("RAG_API_KEY", KEY)
    assert guarded("status").code == 0
    assert "key" not in {found["name"] for found in json.loads(guarded("doctor", "--json").out)}


def key_command(capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["key"])
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


def test_key_prints_the_key_that_the_server_has_made_and_nothing_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAG_HOST", "0.0.0.0")
    code, out, err = key_command(capsys)
    assert (code, out) == (1, "")
    assert "the server makes it when it starts for the first time" in err
    guarded_by(RagSettings())  # as the server does when it starts
    code, out, err = key_command(capsys)
    assert (code, out, err) == (0, (tmp_path / "data" / "api_key").read_text(), "")


def test_key_prints_a_key_that_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_API_KEY", KEY)
    assert key_command(capsys) == (0, f"{KEY}\n", "")


def test_on_loopback_there_is_no_key_to_print(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = key_command(capsys)
    assert (code, out) == (1, "")
    assert "a server at 127.0.0.1 asks for no key" in err


def test_settings_that_contradict_each_other_are_told_without_their_values(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    env = {**os.environ, "RAG_API_KEY": f"{KEY}-too", "RAG_API_KEY_FILE": str(tmp_path / "key")}
    for program in (["rag_app.cli.main", "search", "x"], ["rag_app.cli.main", "up"], ["rag_app"]):
        command = [sys.executable, "-m", *program]
        ended = subprocess.run(command, env={**env, "PYTHONPATH": str(Path(__file__).parents[4])}, cwd=tmp_path,
                               capture_output=True, text=True, timeout=60)  # fmt: skip
        assert ended.returncode == 2
        assert "RAG_API_KEY and RAG_API_KEY_FILE are both set; keep one" in ended.stderr
        assert KEY not in ended.stderr + ended.stdout
        assert "Traceback" not in ended.stderr
