"""The stack, as any program meets it: REST by httpx. The addresses come from the environment, as the services' do."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

# An index run on a slow machine, and the first search after a start.
TIMEOUT_S = 300


def rag_url() -> str:
    """RAG_URL, else the server of this machine at RAG_PORT."""
    return os.environ.get("RAG_URL") or f"http://127.0.0.1:{os.environ.get('RAG_PORT') or 8000}"


def embedding_url() -> str:
    """EMBEDDING_URL, else the embedding service of this machine."""
    return os.environ.get("EMBEDDING_URL") or "http://127.0.0.1:8001"


def qdrant_url() -> str:
    """Qdrant's or vector_db's address, by QDRANT_HOST and QDRANT_PORT."""
    return f"http://{os.environ.get('QDRANT_HOST') or '127.0.0.1'}:{os.environ.get('QDRANT_PORT') or 6333}"


def connect() -> httpx.Client:
    """A client of the RAG server, with its key where RAG_API_KEY is set. httpx.HTTPError where none answers."""
    key = os.environ.get("RAG_API_KEY")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    client = httpx.Client(base_url=rag_url(), headers=headers, timeout=TIMEOUT_S)
    client.get("/healthz").raise_for_status()
    return client


def events(client: httpx.Client, job: str) -> Iterator[dict[str, Any]]:
    """The job each time that it has moved on, by server-sent events; the last one is how it ended."""
    with client.stream("GET", f"/v1/jobs/{job}/events") as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))


def indexed(client: httpx.Client, root: Path, name: str) -> dict[str, Any]:
    """The repository of a folder, brought up to date: a run over a folder that has not changed takes a second.

    Fails with RuntimeError where the run fails; the text is the server's.
    """
    source = {"type": "path", "path": str(root)}
    answer = client.post("/v1/repositories", json={"source": source, "name": name})
    if answer.is_error:
        raise RuntimeError(answer.json()["error"]["message"])
    *_, last = events(client, answer.json()["job"]["id"])
    if last["state"] != "succeeded":
        raise RuntimeError(f"indexing {name} ended as {last['state']}: {last['error']}")
    found: dict[str, Any] = client.get(f"/v1/repositories/{last['repository']}").json()
    return found


def search(client: httpx.Client, query: str, repository: str, **fields: Any) -> dict[str, Any]:
    """The whole answer of POST /v1/search. Fails with RuntimeError, whose text is the server's."""
    answer = client.post("/v1/search", json={"query": query, "repositories": [repository], **fields})
    if answer.is_error:
        raise RuntimeError(answer.json()["error"]["message"])
    found: dict[str, Any] = answer.json()
    return found
