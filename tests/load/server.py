"""The stack under load: started here with the scripted model, or one that runs already and is told by its address."""

import json
import os
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from tests.load import corpus
from tests.support.live import free_port
from tests.support.nginx import proxied
from tests.support.stack import Stack, running

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("script.toml")

# The promise is for an index of so many chunks; fewer would flatter.
LEAST_CHUNKS = 25_000

# Two cores embed the corpus in ten minutes where nothing else runs.
INDEX_LIMIT_S = 3_600


class NotReady(Exception):
    """The stack cannot be measured; the text says why, and what to do."""


@dataclass(slots=True)
class Server:
    """Where the RAG server is, and what may be known of the processes behind it."""

    url: str
    key: str = ""
    embedding_url: str = ""  # "" where its metrics cannot be asked
    pids: Mapping[str, int] = field(default_factory=dict)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """A JSON call to the RAG server. Fails with urllib's errors."""
        headers = {"content-type": "application/json"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def cache_counts(self) -> dict[str, float] | None:
        """Hits and misses of the embedding service's cache of vectors since its start; None where unknown."""
        if not self.embedding_url:
            return None
        with urllib.request.urlopen(f"{self.embedding_url}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        return {name: _metric(text, f"embedding_cache_{name}_total") for name in ("hits", "misses")}


@contextmanager
def started(cache: Path, logs: Path, rag_servers: int = 1) -> Iterator[Server]:
    """All services of this checkout on free ports, over the corpus's own index; ended when the block ends.

    rag_servers: where more than one, so many answer over one data folder behind the stack's own proxy, and the first
    of them indexes, too.
    """
    data = cache / f"index-{corpus.fingerprint()}"
    data.mkdir(parents=True, exist_ok=True)
    extra = {
        "LLM_PROVIDER": "scripted",
        "LLM_SCRIPT": str(SCRIPT),
        "ALLOWED_ROOTS": str(cache),
        "DATA_DIR": str(data),
        "VECTOR_DB_DIR": str(data / "vector_db"),
        # The services of this checkout, whatever is installed in the environment.
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    with running(logs, extra) as stack, _one_address(stack, rag_servers) as (url, proxy):
        yield Server(
            url,
            embedding_url=stack.env["EMBEDDING_URL"],
            pids={name: process.pid for name, process in stack.processes.items()} | proxy,
        )


@contextmanager
def _one_address(stack: Stack, rag_servers: int) -> Iterator[tuple[str, dict[str, int]]]:
    """The address of all RAG servers, and the process id of the proxy where there is one."""
    if rag_servers == 1:
        yield stack.url, {}
        return
    ports = [int(stack.env["RAG_PORT"]), *(free_port() for _ in range(rag_servers - 1))]
    for number, port in enumerate(ports[1:], start=2):
        stack.start_as(f"rag_app-{number}", "rag_app", {"RAG_ROLE": "api", "RAG_PORT": str(port)})
        stack.wait_for_url(f"http://127.0.0.1:{port}/readyz")
    with proxied(stack.folder / "nginx", rag=ports, embedding=[int(stack.env["EMBEDDING_PORT"])]) as proxy:
        yield proxy.rag, {"proxy": proxy.process.pid}


def indexed(server: Server, roots: Sequence[str], say: Callable[[str], None]) -> int:
    """Index the folders that are not indexed yet; returns the chunks of all of them.

    roots: as the server sees them. Fails with NotReady where a job fails, or there are fewer than LEAST_CHUNKS.
    """
    known = {one["name"]: one for one in server.call("GET", "/v1/repositories")["repositories"]}
    jobs = []
    for root in roots:
        name = Path(root).name
        if name in known and known[name]["state"] == "ready":
            continue
        say(f"indexing {name}: the first time takes minutes")
        if name in known:
            answer = server.call("POST", f"/v1/repositories/{known[name]['id']}/sync")
        else:
            answer = server.call("POST", "/v1/repositories", {"source": {"type": "path", "path": root}, "name": name})
        jobs.append((name, answer["job"]["id"]))
    for name, job in jobs:
        _wait(server, name, job, say)
    names = {Path(root).name for root in roots}
    chunks = sum(
        one["chunks"] for one in server.call("GET", "/v1/repositories")["repositories"] if one["name"] in names
    )
    if chunks < LEAST_CHUNKS:
        raise NotReady(f"the index has {chunks} chunks of the corpus; the promise is for {LEAST_CHUNKS} or more")
    return int(chunks)


def _wait(server: Server, name: str, job: str, say: Callable[[str], None]) -> None:
    deadline, told = monotonic() + INDEX_LIMIT_S, monotonic()
    while True:
        state = server.call("GET", f"/v1/jobs/{job}")
        if state["state"] == "succeeded":
            return
        if state["state"] in ("failed", "cancelled"):
            raise NotReady(f"indexing {name} {state['state']}: {state.get('error')}")
        if monotonic() > deadline:
            raise NotReady(f"indexing {name} took over {INDEX_LIMIT_S} s")
        if monotonic() - told > 30:
            told = monotonic()
            say(f"  {name}: {state['progress']['chunks_done']} chunks")
        sleep(1)


def _metric(text: str, name: str) -> float:
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)
