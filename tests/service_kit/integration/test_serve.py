"""A service as a process: it answers, it stops when told, and a taken port is said in words."""

import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request

from tests.support.live import free_port

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
