"""`python -m llm_service` as an operator starts it, with nothing else running."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.support.live import free_port


def environment(port: int) -> dict[str, str]:
    return {**os.environ, "LLM_PORT": str(port)}


def test_it_starts_alone_tells_its_readiness_and_stops_when_told(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "llm_service"], env=environment(port), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        _until_alive(f"http://127.0.0.1:{port}/healthz")
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 503
        assert "chat/completions" in httpx.get(f"http://127.0.0.1:{port}/openapi.json").text
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert process.returncode in {0, -signal.SIGTERM}
    assert all(json.loads(line)["service"] == "llm_service" for line in log.splitlines())


def test_a_taken_port_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "llm_service"],
            env=environment(port),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert str(port) in done.stderr
    assert "LLM_PORT" in done.stderr


def _until_alive(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            assert httpx.get(url).status_code == 200
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline, "it did not start within 30 s"
            time.sleep(0.05)
