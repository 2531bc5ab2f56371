"""A service as a process: it answers, it stops when told, and a taken port is said in words."""

import asyncio
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import httpx

from service_kit.app import create_service
from service_kit.health import Check
from service_kit.metrics import HttpMetrics
from tests.support.live import free_port, live

PROGRAM = textwrap.dedent(
    """
    import sys
    from service_kit.app import create_service
    from service_kit.metrics import HttpMetrics
    from service_kit.serve import serve

    async def readiness():
        return []

    serve(
        create_service("toy", readiness=readiness, metrics=HttpMetrics("toy"), max_body_bytes=1000),
        "127.0.0.1", int(sys.argv[1]), "TOY_PORT",
    )
    """
)


def start(port: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(port)], stderr=subprocess.PIPE, text=True)


def test_a_port_already_taken_names_the_port_and_the_setting() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        process = start(port)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert str(port) in err
    assert "TOY_PORT" in err
    assert "Traceback" not in err


def test_an_idle_connection_outlives_the_pools_of_usual_clients() -> None:
    """httpx lets go of one after 5 s: were it closed here at the same moment, a request would meet a closed socket."""
    port = free_port()
    process = start(port)
    ask = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    try:
        wait_for_answer(port)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            for pause_s in (6.0, 0.0):
                connection.sendall(ask)
                assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
                time.sleep(pause_s)
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_it_serves_until_it_is_told_to_stop() -> None:
    port = free_port()
    process = start(port)
    try:
        assert wait_for_answer(port) == b'{"status":"alive"}'
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode in (0, -signal.SIGTERM)


def wait_for_answer(port: int) -> bytes:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as answer:
                body: bytes = answer.read()
                return body
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_request_that_outlasts_the_servers_end_is_told_to_come_again() -> None:
    """`live` gives requests one second to end."""
    app = create_service("toy", readiness=nothing, metrics=HttpMetrics("toy"), max_body_bytes=1000)
    came = threading.Event()

    @app.get("/slow")
    async def slow() -> None:
        came.set()
        await asyncio.sleep(600)

    with ThreadPoolExecutor(1) as pool:
        with live(app) as url:
            asked = pool.submit(httpx.get, f"{url}/slow", timeout=60)
            assert came.wait(30)
        answer = asked.result(60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-request-id"] == answer.json()["error"]["request_id"]


async def nothing() -> list[Check]:
    return []


def send_head(port: int, header_bytes: int) -> bytes:
    """What the service answers to a request with a header of that size, sent in pieces."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx-long: ")
        try:
            for _ in range(header_bytes // 4096):
                connection.sendall(b"a" * 4096)
            connection.sendall(b"\r\nconnection: close\r\n\r\n")
        except ConnectionError:
            pass  # it has hung up, which is what is wanted of it
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionError:
            pass
        return answer


def test_a_head_without_end_is_refused_and_one_of_32_kilobytes_is_not() -> None:
    port = free_port()
    process = start(port)
    try:
        wait_for_answer(port)
        assert send_head(port, 32 * 1024).startswith(b"HTTP/1.1 200")
        # Hung up on while it was being sent, so that the answer may be lost on its way.
        assert send_head(port, 4 * 1024 * 1024)[:12] in (b"HTTP/1.1 431", b"")
        assert send_head(port, 128 * 1024)[:12] in (b"HTTP/1.1 431", b"")
        assert wait_for_answer(port) == b'{"status":"alive"}'
    finally:
        process.kill()
        process.communicate()


def test_it_takes_as_many_open_files_as_it_may_have() -> None:
    port = free_port()
    limited = ["sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh"]
    process = subprocess.Popen([*limited, sys.executable, "-c", PROGRAM, str(port)], stderr=subprocess.PIPE, text=True)
    try:
        wait_for_answer(port)
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        assert soft == min(hard, 65_536) > 256
    finally:
        process.kill()
        process.communicate()
