"""Several RAG servers of different roles over one data folder, one vector_db, and a toy model that can be held up."""

import asyncio
import functools
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.fake_tei import FakeTei
from tests.support.live import free_port, live
from tests.support.stack import Stack, environment

# Five servers that start side by side take 20 CPU-seconds, of two cores that may have other work.
LIMIT_S = 240.0


class Gate:
    """In front of the toy model: after `passes` batches were let through the next ones wait, until it is opened."""

    def __init__(self, app: ASGIApp):
        self._app = app
        self.passes: int | None = None  # how many are let through; None: all
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/embed":
            if self.passes:
                self.passes -= 1
            self.held += 1
            while self.passes == 0:  # noqa: ASYNC110 - it is opened from another thread
                await asyncio.sleep(0.02)
            self.held -= 1
        await self._app(scope, receive, send)


@dataclass
class Replicas:
    """Running RAG servers by name; `urls` are their addresses."""

    stack: Stack
    gate: Gate
    urls: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The folder that may be indexed."""
        return self.stack.folder / "root"

    def start(self, role: str, *names: str) -> None:
        """Start servers of this role, side by side, and wait until they are alive."""
        for name in names:
            self._launch(name, role)
        for name in names:
            until(functools.partial(self.is_alive, name), f"{name} answers")

    def port(self, name: str) -> int:
        """Where it listens."""
        return int(self.urls[name].rpartition(":")[2])

    def _launch(self, name: str, role: str) -> None:
        port = self.port(name) if name in self.urls else free_port()
        self.stack.start_as(name, "rag_app", {"RAG_ROLE": role, "RAG_PORT": str(port)})
        self.urls[name] = f"http://127.0.0.1:{port}"

    def has(self, name: str) -> bool:
        """Was it started, and not ended since?"""
        return name in self.stack.processes

    def is_alive(self, name: str) -> bool:
        """Does it answer?"""
        try:
            return httpx.get(f"{self.urls[name]}/healthz", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """The process of this name."""
        return self.stack.processes[name]

    def kill(self, name: str) -> None:
        """kill -9."""
        self.stack.stop(name, signal.SIGKILL)

    def call(self, name: str, method: str, path: str, **words: Any) -> httpx.Response:
        """One request to one of them."""
        return httpx.request(method, self.urls[name] + path, timeout=30, **words)

    def register(self, name: str, folder: Path) -> dict[str, Any]:
        """Ask one of them to index a folder; its answer."""
        body = {"source": {"type": "path", "path": str(folder)}}
        answer = self.call(name, "POST", "/v1/repositories", json=body)
        assert answer.status_code == 202, answer.text
        accepted: dict[str, Any] = answer.json()
        return accepted

    def finished(self, name: str, job: str) -> dict[str, Any]:
        """Wait until one of them tells that a job is over."""
        told: dict[str, Any] = {}

        def is_over() -> bool:
            told.update(self.call(name, "GET", f"/v1/jobs/{job}").json())
            return told["state"] not in {"queued", "running"}

        until(is_over, f"job {job} is over")
        return told


def until(holds: Any, what: str, limit_s: float = LIMIT_S) -> None:
    """Wait until `holds()`."""
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {limit_s:g} s: {what}"
        time.sleep(0.05)


@contextmanager
def replicas(folder: Path, **settings: str) -> Iterator[Replicas]:
    """vector_db, ready, and room for RAG servers; all of them end with the block."""
    (folder / "root").mkdir()
    gate = Gate(FakeTei(max_input_length=256, max_client_batch_size=64).app())
    with live(gate) as model:
        env = environment(folder, {"EMBEDDING_URL": model, "ALLOWED_ROOTS": str(folder / "root"), **settings})
        stack = Stack(folder, env)
        try:
            stack.start("vector_db")
            stack.wait_for("QDRANT_PORT")
            yield Replicas(stack, gate)
        finally:
            gate.passes = None
            for process in stack.processes.values():
                process.send_signal(signal.SIGCONT)  # one that a test has stopped cannot end
            for name in list(stack.processes):
                stack.stop(name)
