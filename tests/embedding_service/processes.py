"""The service as a user starts it: a process, and under it the worker."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.live import free_port


@dataclass(frozen=True, slots=True)
class Served:
    """A running service. pid: of the process that serves; its worker is its child."""

    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def worker(self) -> int:
        """The worker's pid."""
        found = self.worker_or_none()
        assert found is not None, "there is no worker"
        return found

    def worker_or_none(self) -> int | None:
        found = workers_of(self.pid)
        assert len(found) <= 1
        return next(iter(found), None)

    def end(self) -> None:
        """As Compose does."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()


def start(**environment: Any) -> Served:
    """`python -m embedding_service` with these variables, ready."""
    port = free_port()
    told = {name: str(value) for name, value in environment.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "embedding_service"],
        env={**os.environ, **told, "EMBEDDING_PORT": str(port), "LOG_LEVEL": "WARNING"},
    )
    served = Served(port, process)
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{served.url}/readyz").status_code == 200:
                return served
        except httpx.ConnectError:
            pass
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workers_of(pid: int) -> set[int]:
    """The living worker processes that process `pid` has started."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = next(line for line in status.read_text().splitlines() if line.startswith("PPid:"))
            command = status.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(parent.split()[1]) == pid and b"embedding_service.engine.worker" in command:
            found.add(int(status.parent.name))
    return found
