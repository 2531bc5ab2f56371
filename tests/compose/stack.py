"""The project's stack in containers: a copy of the sources, a project name and ports of its own."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.live import free_port

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("rag-server", "embedding-server", "llm-server", "vector-db")

# A build downloads packages, and these machines are shared: what comes at all comes within it.
LIMIT_S = 900.0
# A request of a test, while something is down or starts.
ANSWER_S = 30.0

_PORTS = ("RAG_PORT", "EMBEDDING_PORT", "LLM_PORT", "QDRANT_PORT", "QDRANT_GRPC_PORT")


def copy_of_the_sources(into: Path) -> Path:
    """What git tracks, as it is in the work tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name)
    return into


@dataclass
class Stack:
    """A Compose project in `folder`. engine: what its commands need in their environment to reach the engine."""

    folder: Path
    engine: Mapping[str, str]
    files: Sequence[str]
    project: str
    ports: Mapping[str, int] = field(default_factory=lambda: {name: free_port() for name in _PORTS})
    key: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """In which `docker compose` means this stack."""
        return {
            **os.environ,
            **self.engine,
            **{name: str(port) for name, port in self.ports.items()},
            "COMPOSE_FILE": ":".join(self.files),
            "COMPOSE_PROJECT_NAME": self.project,
            "CODE_ASSISTANT_VERSION": "test",
        }

    def run(self, *arguments: str, check: bool = True, sent: str = "") -> subprocess.CompletedProcess[str]:
        """`docker compose …` in the project's folder."""
        return self.docker("compose", *arguments, check=check, sent=sent)

    def docker(
        self, *arguments: str, check: bool = True, limit_s: float = LIMIT_S, sent: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """`docker …` in the project's folder. check: fail with what it said where its exit code is not 0.

        sent: to its standard input.
        """
        done = subprocess.run(
            ["docker", *arguments], cwd=self.folder, env=self.environment, input=sent, capture_output=True, text=True,
            timeout=limit_s, errors="replace", check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done

    def up(self, *services: str) -> None:
        """Start, and return when all are healthy. Fails with the logs of those that are not."""
        done = self.run("up", "-d", "--wait", "--quiet-pull", *services, check=False)
        assert done.returncode == 0, f"{done.stderr}\n{self.run('logs', '--tail', '30', check=False).stdout}"

    def url(self, port: str = "RAG_PORT") -> str:
        """Where a service is reached from here."""
        return f"http://127.0.0.1:{self.ports[port]}"

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`code-assistant …` in the RAG server's container."""
        return self.run("exec", "-T", "rag-server", "code-assistant", *arguments, check=check)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A request to the RAG server, with its key where no other `authorization` is given."""
        sent = {"authorization": f"Bearer {self.key}", **headers} if self.key else headers
        return httpx.request(method, self.url() + path, json=body, headers=sent, timeout=ANSWER_S, trust_env=False)

    def read_key(self) -> None:
        """Take the key that the RAG server made."""
        self.key = self.cli("key").stdout.strip()

    def containers(self) -> dict[str, dict[str, Any]]:
        """Service -> what `docker inspect` tells of its container, for those that exist."""
        ids = self.run("ps", "--all", "--quiet").stdout.split()
        told: list[dict[str, Any]] = json.loads(self.docker("inspect", *ids).stdout) if ids else []
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in told}

    def kill(self, service: str) -> None:
        """End a service's main process as a crash does: the container ends, and its restart policy acts."""
        pid = self.docker("inspect", "--format", "{{.State.Pid}}", self.containers()[service]["Id"]).stdout.strip()
        # Docker's init is the container's first process, and ends with its child's exit code.
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert len(children) == 1, f"{service} has {children} below its init"
        os.kill(int(children[0]), 9)

    def down(self) -> None:
        """Remove everything, with its volumes and its test images."""
        self.run("down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)


def until(holds: Callable[[], bool], what: str, limit_s: float = 240.0) -> float:
    """Wait until `holds`, which may fail with httpx's errors meanwhile; returns the seconds it took."""
    started = time.monotonic()
    while True:
        try:
            if holds():
                return time.monotonic() - started
        except httpx.HTTPError:
            pass
        assert time.monotonic() - started < limit_s, f"{what}: not within {limit_s:g} s"
        time.sleep(0.25)


def size_mb(told: str) -> float:
    """`1.02GB`, as docker prints it, in MB."""
    match = re.fullmatch(r"([\d.]+)(k|M|G)?B", told)
    assert match is not None, told
    return float(match[1]) * {"k": 1e-3, "M": 1, "G": 1e3, None: 1e-6}[match[2]]
