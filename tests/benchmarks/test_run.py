"""The real thing: real servers in processes of their own, started, loaded, compared, ended."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.core import tree
from benchmarks.core.processes import DidNotStart
from benchmarks.embedding import loads, servers
from benchmarks.embedding.loads import Load, LoadFailed
from benchmarks.embedding.run import run
from benchmarks.embedding.servers import Server
from benchmarks.embedding.texts import Texts

ROOT = Path(__file__).resolve().parents[2]

# A server that starts at once. It burns 5 CPU-ms a text in a child process, and tells how many requests it had.
_TOY = """
import json, os, subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
BURN = "import sys,time\\nfor line in sys.stdin:\\n end = time.process_time() + float(line)\\n"
BURN += " while time.process_time() < end: pass\\n print(flush=True)"
child = subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.answer(200, {"model_dtype": "float32"})
    def do_POST(self):
        texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["inputs"]
        child.stdin.write(f"{0.005 * len(texts)}\\n")
        child.stdin.flush()
        child.stdout.readline()
        self.answer(int(os.environ.get("STATUS", "200")), [[1.0, 2.0]] * len(texts))
    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

_BURN_2_S = "import time\nwhile time.process_time() < 2: pass"


def _toy(name: str = "toy", code: str = _TOY, **env: str) -> Server:
    return Server(
        name=name,
        command=(sys.executable, "-c", code),
        env={"PORT": "{port}", **env},
        route="/embed",
        body=lambda texts: {"inputs": texts},
        vectors=lambda answer: answer,
        about="for tests",
    )


def _is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_cpu_of_the_servers_child_is_what_a_load_costs(texts: Texts, tmp_path: Path) -> None:
    running = servers.start(_toy(), tmp_path)
    try:
        measured = asyncio.run(loads.measure(running, Load("bulk", requests=3, batch=32), texts, 0))
    finally:
        running.stop()
    assert measured.texts == 96
    assert 160 < measured.tokens / 96 < 200
    assert 0.47 < measured.cpu_s < 0.9  # 96 texts of 5 ms, and the HTTP server's own
    assert len(measured.latencies_s) == 3
    assert min(measured.latencies_s) >= 0.15


def test_under_bulk_the_queries_latency_is_told_and_everything_answered_is_counted(
    texts: Texts, tmp_path: Path
) -> None:
    load = Load("mixed", requests=3, batch=1, is_query=True, background=(8, 2))
    running = servers.start(_toy(), tmp_path)
    try:
        measured = asyncio.run(loads.measure(running, load, texts, 0))
    finally:
        running.stop()
    assert len(measured.latencies_s) == 3
    assert measured.texts > 3 + 16
    assert (measured.texts - 3) % 8 == 0


def test_a_load_ends_after_its_time(texts: Texts, tmp_path: Path) -> None:
    running = servers.start(_toy(), tmp_path)
    try:
        load = Load("bulk", requests=100, batch=20, clients=2, limit_s=0.5)
        measured = asyncio.run(loads.measure(running, load, texts, 0))
    finally:
        running.stop()
    assert 2 <= len(measured.latencies_s) < 20
    assert measured.wall_s < 8  # all hundred would take 10 s of a core


def test_an_answer_other_than_200_fails_the_load(texts: Texts, tmp_path: Path) -> None:
    running = servers.start(_toy(STATUS="429"), tmp_path)
    try:
        with pytest.raises(LoadFailed, match="429"):
            asyncio.run(loads.measure(running, Load("bulk", requests=1, batch=1), texts, 0))
    finally:
        running.stop()


def test_stop_ends_the_server_and_its_children(tmp_path: Path) -> None:
    running = servers.start(_toy(), tmp_path)
    members = tree.pids(running.pid)
    assert len(members) == 2
    running.stop()
    assert [pid for pid in members if _is_alive(pid)] == []


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    with pytest.raises(DidNotStart, match=r"ValueError: no such backend: static"):
        servers.start(_toy(code="raise ValueError('no such backend: static')"), tmp_path)


def test_a_server_that_is_not_what_it_was_started_as_does_not_count(tmp_path: Path) -> None:
    with pytest.raises(DidNotStart, match=r"model_dtype 'float32', not 'int8'"):
        servers.start(replace(_toy(), info={"model_dtype": "int8"}), tmp_path)


def test_one_broken_server_does_not_keep_the_others_from_being_measured(texts: Texts, tmp_path: Path) -> None:
    rows = [_toy("broken", "raise SystemExit('out of cheese')"), _toy("naive"), _toy("busy", STATUS="503"), _toy("ok")]
    outcome = run(
        rows, [Load("bulk_32", requests=1, batch=4)], 2, texts, tmp_path, lambda _: None, roof=lambda: {"numpy": 100.0}
    )
    broken, naive, busy, fine = outcome.results
    assert broken.failures == ["did not start: out of cheese"]
    assert busy.measured == {}
    assert any("503" in failure for failure in busy.failures)
    for result in (naive, fine):
        assert result.failures == []
        assert set(result.measured["bulk_32"]) == {0, 1}
        assert result.cosine == pytest.approx(1)
        assert result.memory is not None
        assert result.start_s is not None
    assert len(outcome.roofs) == 2


def test_what_others_took_of_the_machine_is_told(texts: Texts, tmp_path: Path) -> None:
    burner = subprocess.Popen(["setsid", "--fork", sys.executable, "-c", _BURN_2_S])  # so that it is no child of ours
    burner.wait()

    def roof() -> dict[str, float]:
        time.sleep(1.5)
        return {"numpy": 1.0}

    busy = run([_toy()], [Load("bulk", requests=1, batch=1)], 1, texts, tmp_path, lambda _: None, roof)
    # One core for two seconds or more, while others may share it.
    assert busy.others > 0.3 / (os.cpu_count() or 1)


def test_every_round_begins_with_another_server(texts: Texts, tmp_path: Path) -> None:
    said: list[str] = []
    run(
        [_toy("a"), _toy("b")],
        [Load("bulk", requests=1, batch=1)],
        2,
        texts,
        tmp_path,
        said.append,
        roof=lambda: {"numpy": 100.0},
    )
    assert [line.split(", ")[2][0] for line in said if line.startswith("round")] == ["a", "b", "b", "a"]


@pytest.mark.parametrize(("ending", "when"), [(signal.SIGINT, "round 1"), (signal.SIGTERM, "starting onnx")])
def test_ctrl_c_ends_everything_that_was_started(ending: signal.Signals, when: str) -> None:
    command = [sys.executable, "-m", "benchmarks.embedding", "--quick", "--servers", "onnx"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    while when not in (line := process.stdout.readline()):
        assert line, f"it ended before {when!r}"
    of_it = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (children := [int(pid) for pid in of_it.read_text().split()]):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(ending)
    assert process.wait(60) != 0
    deadline = time.monotonic() + 30
    while (left := [pid for pid in children if _is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def test_quick_measures_our_service_and_ends_with_a_line_of_json() -> None:
    command = [sys.executable, "-m", "benchmarks.embedding", "--quick", "--servers", "onnx"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    figures = json.loads(lines[-1])
    assert figures["bulk_vs_naive"] is None
    assert 100 < figures["rss_mb"] < 2000
    assert 0.3 < figures["start_s"] < 60
    assert figures["mixed_query_p99_ratio"] > 0
    kept = Path(next(line for line in lines if line.startswith("the whole result: ")).partition(": ")[2])
    whole = json.loads(kept.read_text())
    kept.unlink()
    ours = whole["servers"]["onnx"]
    assert ours["failures"] == []
    assert set(ours["loads"]) == {"bulk_32", "bulk_256", "single_64", "single_1", "mixed"}
    assert all(one["texts"] > 0 and one["cpu_s"] > 0 for rounds in ours["loads"].values() for one in rounds)


@pytest.mark.parametrize("words", [["--servers", "onnx,tei"], ["--rounds", "0"]])
def test_a_wrong_command_line_is_refused(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.embedding", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
