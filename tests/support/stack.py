"""The four real processes on free ports, as a user's machine runs them, for tests that cross all services."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.live import free_port

# The embedding model is read and its graph built at the first start.
START_LIMIT_S = 180

# Variables of the developer's own that would lead a stack, or a command, elsewhere.
OTHERS = ("OPENAI_", "LLM_", "QDRANT_", "EMBEDDING_", "RAG_", "CODE_ASSISTANT_")


@dataclass
class Stack:
    """Running services by name. `env` is what a command needs to speak to them, `own` what one service has beside it.

    before: Python that runs in each service's process before the service does.
    """

    folder: Path
    env: dict[str, str]
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    before: str = ""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.env['RAG_PORT']}"

    def start(self, service: str) -> None:
        """Start one service; its log goes to <folder>/<service>.log."""
        self.start_as(service, service, self.own.get(service, {}))

    def start_as(self, name: str, service: str, own: Mapping[str, str]) -> None:
        """Start a process of a service under a name of its own, with variables of its own."""
        words = ["-m", service]
        if self.before:
            words = ["-c", f"{self.before}\nimport runpy; runpy.run_module({service!r}, run_name='__main__')"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *words], env={**self.env, **own}, cwd=self.folder, stdout=log, stderr=log
            )

    def stop(self, service: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End one service and wait until it is gone."""
        process = self.processes.pop(service)
        process.send_signal(how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def wait_for(self, port_name: str, path: str = "/readyz") -> None:
        """Wait until a service answers `path` with 200."""
        self.wait_for_url(f"http://127.0.0.1:{self.env[port_name]}{path}")

    def wait_for_url(self, url: str) -> None:
        """Wait until an address answers with 200."""
        deadline = time.monotonic() + START_LIMIT_S
        while not _answers(url):
            assert time.monotonic() < deadline, f"{url} is not ready; logs are in {self.folder}"
            time.sleep(0.1)

    def cli(self, *words: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run `code-assistant` with `words`, its output piped."""
        command = [str(Path(sys.executable).with_name("code-assistant")), *words]
        return subprocess.run(
            command, env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def post(self, path: str, body: object) -> tuple[int, dict[str, object]]:
        """POST JSON to the RAG server; returns (status, decoded answer)."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as exc:
            return exc.code, json.load(exc)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def environment(folder: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """Variables for a stack of its own: free ports, its data under `folder`, no key and no .env of the developer's."""
    ports = {name: str(free_port()) for name in ("RAG_PORT", "EMBEDDING_PORT", "LLM_PORT", "QDRANT_PORT")}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(OTHERS)}
    return {
        **inherited,
        **ports,
        "EMBEDDING_URL": f"http://127.0.0.1:{ports['EMBEDDING_PORT']}",
        "LLM_URL": f"http://127.0.0.1:{ports['LLM_PORT']}/v1",
        "DATA_DIR": str(folder / "data"),
        "VECTOR_DB_DIR": str(folder / "data" / "vector_db"),
        "ALLOWED_ROOTS": str(folder),
        **extra,
    }


@contextmanager
def running(
    folder: Path,
    extra: Mapping[str, str] | None = None,
    own: Mapping[str, Mapping[str, str]] | None = None,
    before: str = "",
) -> Iterator[Stack]:
    """All four services, ready; ended when the block ends. own, before: as Stack's."""
    stack = Stack(folder, environment(folder, extra or {}), own or {}, before)
    try:
        for service in ("vector_db", "embedding_service", "llm_service", "rag_app"):
            stack.start(service)
        stack.wait_for("QDRANT_PORT")
        stack.wait_for("EMBEDDING_PORT")
        stack.wait_for("LLM_PORT", "/healthz")
        stack.wait_for("RAG_PORT")
        yield stack
    finally:
        for service in list(stack.processes):
            stack.stop(service)
