"""`code-assistant repos`, `status` and `doctor`, and how a command ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rag_app.cli.main import main
from rag_app.db.manifest import Manifest
from tests.support.cli import Cli
from tests.support.fake_rag import FakeRag, hit
from tests.support.live import free_port, live


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


@pytest.fixture
def beside_make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which `make run` was, and a shell that does not set DATA_DIR."""
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "manifest.sqlite").touch()
    return tmp_path


@pytest.mark.parametrize(
    "command", [["doctor"], ["backup", "b"], ["restore", "b"], ["logs", "--request-id", "x"], ["key"]]
)
def test_a_command_that_reads_another_data_dir_than_that_of_make_run_says_so(
    beside_make_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    monkeypatch.setenv("CODE_ASSISTANT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("QDRANT_PORT", str(free_port()))

    def told() -> list[str]:
        with pytest.raises(SystemExit):
            main(command)
        return [line for line in capsys.readouterr().err.splitlines() if line.startswith("hint: ")]

    [hint] = told()
    assert "DATA_DIR=.data" in hint
    monkeypatch.setenv("DATA_DIR", ".data")
    assert told() == []
    monkeypatch.delenv("DATA_DIR")
    (beside_make_run / ".data" / "manifest.sqlite").unlink()
    assert told() == []


def test_a_backup_beside_the_servers_data_is_refused_in_words(
    beside_make_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = Manifest(beside_make_run / "home" / "code-assistant" / "manifest.sqlite")
    manifest.open()
    manifest.close()
    with pytest.raises(SystemExit) as ended:
        main(["backup", "b"])
    assert ended.value.code == 2
    assert "nothing is indexed in DATA_DIR=" in capsys.readouterr().err


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
        _, err = asked.communicate(timeout=60)
    assert (asked.returncode, err) == (130, b"")


def test_ctrl_c_while_python_still_imports_is_130_and_quiet_too(rag: FakeRag) -> None:
    rag.delay_s = 30
    with live(rag.app()) as url:
        command = [sys.executable, "-X", "importtime", "-m", "rag_app.cli.main", "ask", "q", "--server", url]
        asked = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert asked.stderr is not None
        assert any("typer" in line for line in asked.stderr)  # the first of many that are imported
        asked.send_signal(signal.SIGINT)
        _, err = asked.communicate(timeout=60)
    assert asked.returncode == 130
    assert "Traceback" not in err
    assert rag.requests == []


def test_a_command_begins_without_the_libraries_of_the_server() -> None:
    """They take 1.5 s and 100 MB, which `search` in an editor would wait for each time."""
    program = "import sys, rag_app.cli.commands; print({'llama_index', 'qdrant_client', 'numpy'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "set()\n"
