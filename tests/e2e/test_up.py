"""`code-assistant up`, which `make run` calls: one command from nothing to a cited answer, with the real services."""

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.stack import environment

PROGRAM = str(Path(sys.executable).with_name("code-assistant"))
QUESTION = "How does Flask find the template folder?"
PORTS = ("RAG_PORT", "EMBEDDING_PORT", "LLM_PORT", "QDRANT_PORT")


@pytest.fixture(scope="module")
def project(flask: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of Flask that knows no server: five files."""
    return Path(shutil.copytree(flask / "src" / "flask" / "sansio", tmp_path_factory.mktemp("up").resolve() / "sansio"))


@pytest.fixture(scope="module")
def env(project: Path) -> dict[str, str]:
    return {**environment(project.parent, {}), "ALLOWED_ROOTS": ""}


def up(project: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, "up", "--repo", str(project), "--question", QUESTION, "--once"]
    return subprocess.run(
        command, env=env, cwd=project.parent, capture_output=True, text=True, timeout=280, check=False
    )


def test_from_nothing_to_a_cited_answer_and_the_second_time_only_what_changed(
    project: Path, env: dict[str, str]
) -> None:
    first = up(project, env)
    assert first.returncode == 0, first.stderr
    search, _, answer = first.stdout.partition("ask: ")
    hits = [line for line in search.splitlines() if line.startswith(("scaffold.py:", "app.py:", "blueprints.py:"))]
    assert hits[0].startswith("scaffold.py:")
    assert "[1] " in answer
    again = up(project, env)
    assert again.returncode == 0, again.stderr
    assert "nothing has changed" in again.stdout + again.stderr


def test_beyond_loopback_it_makes_a_key_and_shows_the_journey_with_it(project: Path, env: dict[str, str]) -> None:
    ended = up(project, {**env, "RAG_HOST": "0.0.0.0"})
    assert ended.returncode == 0, ended.stderr
    assert "[1] " in ended.stdout
    key = (Path(env["DATA_DIR"]) / "api_key").read_text().strip()
    logs = [path.read_text("utf-8", "replace") for path in (Path(env["DATA_DIR"]) / "logs").glob("*.log*")]
    assert key not in "".join([ended.stdout, ended.stderr, *logs])


def test_ctrl_c_ends_all_that_it_started(project: Path, env: dict[str, str]) -> None:
    started = subprocess.Popen(
        [PROGRAM, "up"], env=env, cwd=project.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until(lambda: all(_listens(env[port]) for port in PORTS))
        started.send_signal(signal.SIGINT)
        started.wait(30)
    finally:
        started.kill()
    assert not any(_listens(env[port]) for port in PORTS)


def _listens(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def _wait_until(holds: Callable[[], bool], within_s: float = 120) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:g} s"
        time.sleep(0.1)
