"""The real thing: the fake upstream, the client, the bare pass-through and the gateway in processes of their own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.core import command, tree
from benchmarks.core.processes import Running
from benchmarks.llm import __main__ as bench
from benchmarks.llm import servers, wire
from benchmarks.llm.client import open_all
from benchmarks.llm.first_token import first_tokens
from benchmarks.llm.loads import Load, measure
from benchmarks.llm.run import Plan, run
from benchmarks.llm.servers import UPSTREAM, Server
from benchmarks.llm.soak import soak
from benchmarks.llm.wire import WrongAnswer

ROOT = Path(__file__).resolve().parents[2]

# A server that answers everything with STATUS and the plain answer but for its CUT; idle, it closes after CLOSE s.
_TOY = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from benchmarks.llm import wire
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = float(os.environ.get("CLOSE", "60"))
    def do_GET(self):
        self.answer(200, b"{}")
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        cut = os.environ.get("CUT", "").encode()
        self.answer(int(os.environ.get("STATUS", "200")), wire.plain_answer().replace(cut, b"") if cut else b"{}")
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
ThreadingHTTPServer.request_queue_size = 128  # it is 5, and the soak has 64 clients
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def _toy(name: str, **env: str) -> Server:
    return Server(name, (sys.executable, "-c", _TOY), {"PORT": "{port}", **env}, "/", "for tests")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[Server], Running[Server]]]:
    running: list[Running[Server]] = []

    def start(server: Server) -> Running[Server]:
        running.append(servers.start(server, tmp_path))
        return running[-1]

    yield start
    for each in running:
        each.stop()


async def _ask(url: str, what: str) -> bytes:
    (connection,) = await open_all(url, 1)
    try:
        return (await connection.send(f"{what} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())).body
    finally:
        connection.close()


async def test_the_upstream_sends_a_streams_tokens_at_its_pace_and_counts_answers(
    started: Callable[[Server], Running[Server]],
) -> None:
    upstream = started(UPSTREAM)
    await _ask(upstream.url, "PUT /pace/4")
    measured = await measure(upstream.url, upstream.pid, Load("paced", clients=2, requests=4, pace_ms=4))
    assert min(measured.latencies_s) > 0.19  # 50 writes after the first, 4 ms each; timers are right to the ms
    assert min(measured.firsts_s) < 0.1
    assert measured.requests == 4
    assert measured.cpu_s is not None
    assert 0 < measured.cpu_s < 0.5
    await _ask(upstream.url, "PUT /pace/0")
    burst = await measure(upstream.url, None, Load("burst", clients=2, requests=10, pace_ms=0))
    assert min(burst.latencies_s) < 0.1
    assert burst.cpu_s is None
    assert int(await _ask(upstream.url, "GET /count")) == 4 + 10 + 2 * 2  # each client warms up with one


async def test_the_usage_is_told_only_to_who_asks(started: Callable[[Server], Running[Server]]) -> None:
    upstream = started(UPSTREAM)
    (connection,) = await open_all(upstream.url, 1)
    asked = wire.request(1, is_stream=True)
    head, _, body = asked.partition(b"\r\n\r\n")
    wants = body.replace(b'"stream":true', b'"stream":true,"stream_options":{"include_usage":true}')
    head = head.replace(b"content-length: %d" % len(body), b"content-length: %d" % len(wants))
    told = [(await connection.send(sent)).body.count(b'"usage"') for sent in (asked, head + b"\r\n\r\n" + wants)]
    connection.close()
    assert told == [0, 1]


async def test_a_connection_that_the_server_closed_while_idle_is_made_anew(
    started: Callable[[Server], Running[Server]],
) -> None:
    toy = started(_toy("toy", CUT=" word49", CLOSE="0.2"))
    (connection,) = await open_all(toy.url, 1)
    statuses = []
    for _ in range(2):
        statuses.append((await connection.send(wire.request(1, is_stream=False))).status)
        await asyncio.sleep(0.6)
    connection.close()
    assert statuses == [200, 200]


@pytest.mark.parametrize(
    ("env", "said"), [({"STATUS": "503"}, "503"), ({"CUT": " word49"}, "343 characters")], ids=["refuses", "cuts"]
)
async def test_a_wrong_answer_fails_the_load(
    started: Callable[[Server], Running[Server]], env: dict[str, str], said: str
) -> None:
    toy = started(_toy("toy", **env))
    with pytest.raises(WrongAnswer, match=said):
        await measure(toy.url, toy.pid, Load("plain", clients=1, requests=1))
    with pytest.raises(WrongAnswer, match=said):
        await soak(toy.url, toy.pid, 3)


async def test_the_bare_pass_through_changes_no_byte(
    started: Callable[[Server], Running[Server]], tmp_path: Path
) -> None:
    upstream = started(UPSTREAM)
    bare = started(next(row for row in servers.table(upstream.url, tmp_path, None) if row.name == "bare"))
    bodies: list[bytes] = []
    for running in (upstream, bare):
        (connection,) = await open_all(running.url, 1)
        for is_stream in (False, True):
            bodies.append((await connection.send(wire.request(1, is_stream=is_stream))).body)
        connection.close()
    assert bodies[:2] == bodies[2:]


async def test_the_first_tokens_time_is_measured_in_turns(
    started: Callable[[Server], Running[Server]], tmp_path: Path
) -> None:
    upstream = started(UPSTREAM)
    bare = started(next(row for row in servers.table(upstream.url, tmp_path, None) if row.name == "bare"))
    found = await first_tokens({"upstream": upstream.url, "bare": bare.url}, clients=2, turns=5)
    assert {name: len(seconds) for name, seconds in found.seconds.items()} == {"upstream": 10, "bare": 10}
    added = found.added_ms("bare")
    assert added is not None
    assert 0 < added < 100
    assert found.added_ms("litellm") is None


def test_a_server_that_answers_wrongly_is_told_and_the_others_are_measured(tmp_path: Path) -> None:
    def table(upstream_url: str, folder: Path, litellm: Path | None) -> list[Server]:
        (bare,) = (row for row in servers.table(upstream_url, folder, litellm) if row.name == "bare")
        # The second toy answers rightly, but from itself.
        return [bare, _toy("gateway", CUT=" word49"), _toy("litellm", CUT="nothing"), _toy("gone", PORT="none")]

    plan = Plan([Load("plain_1", 1, 5)], 2, 0, 10, ("bare", "gateway", "litellm", "gone"))
    outcome = run(plan, None, tmp_path, lambda _: None, table)
    results = outcome.results
    assert results["bare"].failures == []
    assert set(results["bare"].measured["plain_1"]) == {0, 1}
    assert any("343 characters" in failure for failure in results["gateway"].failures)
    assert "plain_1: the upstream saw 0 answers for 6 requests" in results["litellm"].failures
    assert results["litellm"].measured == {}
    assert any("did not start" in failure for failure in results["gone"].failures)
    assert outcome.soak is None
    assert set(results["upstream"].measured["plain_1"]) == {0}


def test_quick_measures_the_gateway_and_ends_with_a_line_of_json() -> None:
    loads = "plain_1,stream_16,first_token,soak"
    command = [sys.executable, "-m", "benchmarks.llm", "--quick", "--servers", "gateway,bare", "--loads", loads]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    figures = json.loads(lines[-1])
    assert figures["litellm_vs_cpu_plain"] is None
    assert figures["cpu_vs_bare_plain"] is None  # plain_16 was not asked for
    assert 0.3 < figures["cpu_vs_bare_stream"] < 10
    assert 0 < figures["added_ttft_ms_p50"] < 100
    assert 30 < figures["rss_mb"] < 300
    kept = Path(next(line for line in lines if line.startswith("the whole result: ")).partition(": ")[2])
    whole = json.loads(kept.read_text())
    kept.unlink()
    assert whole["soak"]["requests"] == 3000
    assert set(whole["servers"]["gateway"]["loads"]) == {"plain_1", "stream_16"}
    assert whole["servers"]["gateway"]["failures"] == []


def test_a_run_in_which_a_server_failed_ends_with_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def table(*_: object) -> list[Server]:
        return [_toy("gateway", CUT=" word49")]

    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the handlers of pytest's own process stay
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(bench, "run", lambda plan, litellm, folder, say: run(plan, litellm, folder, say, table))
    assert bench.main(["--quick", "--servers", "gateway", "--loads", "plain_1"]) == 1
    assert "343 characters" in capsys.readouterr().out


@pytest.mark.parametrize(("ending", "when"), [(signal.SIGINT, "round 1"), (signal.SIGTERM, "starting gateway")])
def test_ctrl_c_ends_all_servers_of_the_llm_benchmark(ending: signal.Signals, when: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.llm", "--quick", "--servers", "gateway,bare"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    while when not in (line := process.stderr.readline()):
        assert line, f"it ended before {when!r}"
    children = tree.pids(process.pid)
    assert len(children) > 1
    process.send_signal(ending)
    process.stderr.read()
    assert process.wait(30) != 0
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []


@pytest.mark.parametrize("words", [["--servers", "gateway,vllm"], ["--loads", "plain_2"], ["--rounds", "0"]])
def test_a_wrong_command_line_of_the_llm_benchmark_is_refused(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.llm", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
