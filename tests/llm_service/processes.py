"""The gateway as a user starts it: a process, and what it holds."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.live import free_port

ESTABLISHED = "01"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway, and its log so far."""

    port: int
    process: "subprocess.Popen[bytes]"
    log_path: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1000

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def sockets_to(self, port: int) -> int:
        """Established connections of this process to that port of loopback."""
        inodes = set()
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(
            line[9] in inodes and line[3] == ESTABLISHED and int(line[2].rpartition(":")[2], 16) == port
            for line in lines
        )


@contextmanager
def gateway(folder: Path, **environment: Any) -> Iterator[Gateway]:
    """`python -m llm_service` with these variables, ready; ended as Compose does. folder: for its log."""
    port = free_port()
    told = {name.upper(): str(value) for name, value in environment.items()}
    log_path = folder / f"gateway-{port}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "llm_service"],
            env={**os.environ, **told, "LLM_PORT": str(port)},
            stderr=log,
        )
    running = Gateway(port, process, log_path)
    try:
        _until_alive(running)
        yield running
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
        process.wait()


def _until_alive(running: Gateway) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            assert httpx.get(f"{running.url}/healthz").status_code == 200
            return
        except httpx.TransportError:
            assert running.process.poll() is None, running.log
            assert time.monotonic() < deadline, "it did not start within 60 s"
            time.sleep(0.05)
