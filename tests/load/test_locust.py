"""The Locust scenario itself, against a server that behaves as a test says."""

import json
import os
import subprocess
from pathlib import Path

from tests.load import records
from tests.load.fake_server import FakeRag
from tests.load.records import Record
from tests.load.run import LOCUSTFILE
from tests.load.scenarios import GENERATE, SEARCH
from tests.load.server import ROOT
from tests.support.live import live


def drive(locust: Path, folder: Path, url: str, seconds: float, **settings: str) -> tuple[int, list[Record]]:
    questions = folder / "questions.json"
    questions.write_text(json.dumps([f"question {number}" for number in range(500)]))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LOAD_QUESTIONS": str(questions),
        "LOAD_RECORDS": str(folder / "records.csv"),
        "LOAD_MINUTES": str(seconds / 60),
        **settings,
    }
    command = [str(locust), "-f", str(LOCUSTFILE), "--headless", "--users", "1", "--host", url, "--only-summary"]
    ended = subprocess.run(command, env=environment, cwd=folder, timeout=120, check=False)
    return ended.returncode, records.read(folder / "records.csv")


def test_a_server_that_stalls_makes_everybody_wait_who_was_due_meanwhile(locust: Path, tmp_path: Path) -> None:
    # A closed loop of one user would see one slow request here, and a p95 of nothing.
    rag = FakeRag(stall=(1.0, 3.0))
    with live(rag.app()) as url:
        _, done = drive(locust, tmp_path, url, 5, LOAD_SEARCH_RATE="20", LOAD_GENERATE_RATE="0")
    assert len(done) == 100
    waited = [record for record in done if record.latency_s > 0.5]
    # 20 a second were due in the 1.5 s before the last half second of the stall; a machine that is busy adds some.
    assert len(waited) >= 25
    assert max(record.latency_s for record in done) > 1.5


def test_a_run_that_holds_the_promise_ends_with_0(locust: Path, tmp_path: Path) -> None:
    rag = FakeRag(key="k")
    settings = {"LOAD_SEARCH_RATE": "20", "LOAD_GENERATE_RATE": "5", "LOAD_KEY": "k", "LOAD_FIRST_QUESTION": "100"}
    with live(rag.app()) as url:
        code, done = drive(locust, tmp_path, url, 2, **settings)
    assert code == 0
    assert [sum(record.scenario == name for record in done) for name in (SEARCH, GENERATE)] == [40, 10]
    assert all(record.tokens == 3 for record in done if record.scenario == GENERATE)
    asked = {question.removeprefix("Write a function for this: ") for question in rag.questions}
    assert asked == {f"question {number}" for number in range(100, 150)}


def test_one_error_fails_the_run(locust: Path, tmp_path: Path) -> None:
    with live(FakeRag(fail_every=30).app()) as url:
        code, done = drive(locust, tmp_path, url, 2, LOAD_SEARCH_RATE="20", LOAD_GENERATE_RATE="0")
    assert code == 1
    assert [record.error for record in done if record.error] == ["status 503"]


def test_an_answer_that_breaks_off_fails_the_run(locust: Path, tmp_path: Path) -> None:
    with live(FakeRag(breaks_off=True).app()) as url:
        code, done = drive(locust, tmp_path, url, 1, LOAD_SEARCH_RATE="0", LOAD_GENERATE_RATE="5")
    assert code == 1
    assert {record.error for record in done} == {"broken off"}


def test_a_run_that_is_lost_is_given_up(locust: Path, tmp_path: Path) -> None:
    with live(FakeRag(degraded=("embedding",)).app()) as url:
        settings = {"LOAD_SEARCH_RATE": "20", "LOAD_GENERATE_RATE": "0", "LOAD_GIVE_UP_AFTER": "10"}
        code, done = drive(locust, tmp_path, url, 20, **settings)
    assert code == 1
    assert 10 <= len(done) < 400
    assert {record.error for record in done} == {"degraded: embedding"}
