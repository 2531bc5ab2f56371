"""The services under evaluation: those of this checkout on free ports, over a folder of data that is kept."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.core.processes import launch

# Variables of the developer's own that would lead a service elsewhere.
OTHERS = ("OPENAI_", "LLM_", "QDRANT_", "EMBEDDING_", "RAG_", "CODE_ASSISTANT_")

# The port of `discard`, on which nobody listens.
NOBODY = "http://127.0.0.1:9"

# A search beside an indexing run waits for the processor.
CALL_LIMIT_S = 300


def cache_folder() -> Path:
    """Where sources, indexes and rankings are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "code-assistant-evals"


class CallFailed(Exception):
    """The RAG server refused or failed; the text has its words."""


class Service:
    """A RAG server, the embedding service beside it, and one that has none."""

    def __init__(self, url: str, embedding_url: str = "", without_model: "Service | None" = None) -> None:
        """without_model: another RAG server over the same index, whose embedding service is down."""
        self.embedding_url = embedding_url
        self.without_model = without_model
        self._http = httpx.Client(base_url=url, timeout=CALL_LIMIT_S)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """A JSON call. Fails with CallFailed, and with httpx's errors where nobody answers."""
        answer = self._http.request(method, path, json=body) if body is not None else self._http.request(method, path)
        if answer.is_error:
            raise CallFailed(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return json.loads(answer.content)

    def weights(self) -> dict[str, float]:
        """The ranking's weights as they are by default; {} where the server does not tell."""
        answer = self.call("POST", "/v1/search", {"query": "x", "limit": 1, "explain": True})
        return dict((answer.get("query") or {}).get("weights") or {})


@dataclass(frozen=True, slots=True)
class _Started:
    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    health: str = "/readyz"


@contextmanager
def started(data: Path, logs: Path, allowed: Path) -> Iterator[Service]:
    """Qdrant's stand-in, the embedding service and the RAG server, ready; ended when the block ends.

    data: keeps the index and the cache of vectors. allowed: the folder below which sources may be indexed.
    Fails with DidNotStart.
    """
    data.mkdir(parents=True, exist_ok=True)
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as ended:

        def start(service: str, name: str = "", **env: str) -> str:
            server = _Started(name or service, (sys.executable, "-m", service), {"DATA_DIR": str(data), **env})
            running = launch(server, logs, OTHERS)
            ended.callback(running.stop)
            return running.url

        index = start("vector_db", QDRANT_PORT="{port}", VECTOR_DB_DIR=str(data / "vector_db"))
        embedding = start("embedding_service", EMBEDDING_PORT="{port}")
        common = {"RAG_PORT": "{port}", "QDRANT_PORT": index.rpartition(":")[2], "ALLOWED_ROOTS": str(allowed)}
        rag = start("rag_app", EMBEDDING_URL=embedding, **common)
        # What an embedding service that is down leaves: the same code, over the same index.
        bare = start("rag_app", "rag_app_without_model", EMBEDDING_URL=NOBODY, RAG_ROLE="api", **common)
        yield Service(rag, embedding, Service(bare))
