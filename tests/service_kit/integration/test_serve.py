"""A service as a process: it answers, it stops when told, and a taken port is said in words."""

import asyncio
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
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert str(port) in err
    assert "TOY_PORT" in err
    assert "Traceback" not in err


def test_it_serves_until_it_is_told_to_stop() -> None:
    port = free_port()
    process = start(port)
    try:
        assert wait_for_answer(port) == b'{"status":"alive"}'
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode in (0, -signal.SIGTERM)


def wait_for_answer(port: int) -> bytes:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
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
        await asyncio.sleep(60)

    with ThreadPoolExecutor(1) as pool:
        with live(app) as url:
            asked = pool.submit(httpx.get, f"{url}/slow", timeout=30)
            assert came.wait(10)
        answer = asked.result(10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-request-id"] == answer.json()["error"]["request_id"]


async def nothing() -> list[Check]:
    return []
