"""The services that a search goes through: those of this checkout, on free ports, and the CPU time of each."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.core import tree
from benchmarks.core.processes import launch

# Variables of the developer's own that would lead a service elsewhere, or set what is measured.
_OTHERS = ("OPENAI_", "LLM_", "QDRANT_", "EMBEDDING_", "RAG_", "RERANK_", "CODE_ASSISTANT_", "MAX_", "DTYPE", "LOG_")

# A search beside an indexing run waits for the processor.
_CALL_LIMIT_S = 300

# The default model in half the time, as it comes by default, and as a table made of it: that one fills an index in
# minutes, and finds other chunks. What ranking costs hangs on their number.
MODELS: Mapping[str, Mapping[str, str]] = {
    "int8": {"DTYPE": "int8"},
    "float32": {"DTYPE": "float32"},
    "static": {"EMBEDDING_BACKEND": "static"},
}

RAG, STORE, EMBEDDING = "rag_server", "vector_db", "embedding"
PROCESSES = (RAG, STORE, EMBEDDING)


class CallFailed(Exception):
    """The RAG server refused or failed; the text has its words."""


class Stack:
    """The RAG server, and what it and the two behind it have used."""

    def __init__(self, url: str, pids: Mapping[str, int]) -> None:
        """url: of the RAG server; pids: of the process that was started, by its name in PROCESSES."""
        self._http = httpx.Client(base_url=url, timeout=_CALL_LIMIT_S)
        self._pids = pids

    def call(self, method: str, path: str, body: object = None) -> Any:
        """A JSON call. Fails with CallFailed, and with httpx's errors where nobody answers."""
        answer = self._http.request(method, path, json=body) if body is not None else self._http.request(method, path)
        if answer.is_error:
            raise CallFailed(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return json.loads(answer.content)

    def cpu_s(self) -> dict[str, float]:
        """User and system time until now, in s, of each process with its children."""
        return {name: tree.cpu_s(pid) for name, pid in self._pids.items()}

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()


@dataclass(frozen=True, slots=True)
class _Server:
    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    health: str = "/readyz"


@contextmanager
def started(data: Path, logs: Path, allowed: Path, model: str) -> Iterator[Stack]:
    """The three services, ready; ended when the block ends. Fails with DidNotStart.

    model: one of MODELS. data: keeps the index and its vectors, of one model. allowed: the folder below which sources
    lie. The embedding service keeps no recent vectors: the same questions come again and again here, as no user's do.
    """
    data.mkdir(parents=True, exist_ok=True)
    logs.mkdir(parents=True, exist_ok=True)
    pids: dict[str, int] = {}
    with ExitStack() as ended:

        def start(name: str, module: str, **env: str) -> str:
            server = _Server(name, (sys.executable, "-m", module), {"DATA_DIR": str(data), **env})
            running = launch(server, logs, _OTHERS)
            ended.callback(running.stop)
            pids[name] = running.pid
            return running.url

        store = start(STORE, "vector_db", QDRANT_PORT="{port}", VECTOR_DB_DIR=str(data / "vector_db"))
        settings = {"EMBEDDING_PORT": "{port}", "EMBEDDING_CACHE_BYTES": "0", **MODELS[model]}
        embedding = start(EMBEDDING, "embedding_service", **settings)
        port = store.rpartition(":")[2]
        rag = start(
            RAG, "rag_app", RAG_PORT="{port}", QDRANT_PORT=port, EMBEDDING_URL=embedding, ALLOWED_ROOTS=str(allowed)
        )
        stack = Stack(rag, pids)
        ended.callback(stack.close)
        yield stack
