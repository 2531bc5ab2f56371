"""Everything that a dashboard shows, made to happen in a running stack: questions, answers, jobs, and real faults."""

import concurrent.futures
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import httpx

from tests.support.scripted_llm import ScriptedLlm
from tests.support.stack import Stack

CODE = {
    "lock.py": "class FileLock:\n    def acquire(self):\n        '''Take the lock.'''\n        return self._take()\n",
    "cache.py": "def evict_oldest(cache):\n    '''Drop the least recently used entry.'''\n    cache.popitem()\n",
}
QUESTION = "where is the file lock acquired?"

# At most this long until something that was asked for has happened.
_PATIENCE_S = 60.0


class Traffic:
    """Requests to a stack whose embedding service takes few texts at once (LIMITS) and whose model is scripted."""

    LIMITS: ClassVar[dict[str, str]] = {"MAX_CONCURRENT_REQUESTS": "8", "MAX_CLIENT_BATCH_SIZE": "8"}

    def __init__(self, stack: Stack, model: ScriptedLlm):
        """model: behind the stack's LLM service."""
        self._stack = stack
        self._model = model
        self._client = httpx.Client(base_url=stack.url, timeout=120, trust_env=False)

    def post(self, path: str, body: object) -> httpx.Response:
        """POST to the RAG server, whatever comes of it."""
        return self._client.post(path, json=body)

    def index(self) -> None:
        """A folder of its own, and a repository that cannot be fetched."""
        project = self._stack.folder / "traffic"
        project.mkdir(exist_ok=True)
        for name, text in CODE.items():
            (project / name).write_text(f"{text}# {time.time()}\n")  # new each time, so that there is work
        for source in ({"type": "path", "path": str(project)}, {"type": "git", "url": "https://127.0.0.1:9/none.git"}):
            job = self.post("/v1/repositories", {"source": source}).json()["job"]["id"]
            until(lambda job=job: self._client.get(f"/v1/jobs/{job}").json()["state"] in ("succeeded", "failed"))

    def ask(self) -> None:
        """Searches in each mode, and each kind of answer."""
        for mode in ("hybrid", "dense", "sparse", "symbol"):
            self.post("/v1/search", {"query": "FileLock acquire", "mode": mode})
        for stream in (False, True):
            self._model.will_say("The lock is taken in `acquire` [1], word by word, for a stream.")
            self.post("/v1/ask", {"question": QUESTION, "stream": stream})
            self._model.will_say("```python\ndef take():\n    return 1\n```\n")
            self.post("/v1/generate", {"instruction": "take the file lock", "language": "python", "stream": stream})

    def ask_while_the_model_fails(self) -> None:
        """Attempts again, answers without a model, code that cannot be written, a breaker that opens."""
        self._model.failures = [(500, {"error": {"message": "no memory", "type": "server_error"}})] * 40
        for _ in range(4):
            self.post("/v1/ask", {"question": QUESTION})
            self.post("/v1/generate", {"instruction": "take the file lock", "language": "python"})
        self._model.failures = []

    def ask_while_embedding_is_gone(self) -> None:
        """Degraded searches. It is back at the end."""
        with self.without("embedding_service"):
            self.post("/v1/search", {"query": "FileLock acquire"})
            self.post("/v1/ask", {"question": QUESTION})
            time.sleep(2.5)  # two scrapes at least

    def ask_while_the_store_is_gone(self) -> None:
        """Searches and answers that fail. It is back at the end."""
        with self.without("vector_db"):
            self.post("/v1/search", {"query": "FileLock acquire"})
            self.post("/v1/ask", {"question": QUESTION})
            time.sleep(2.5)

    @contextmanager
    def without(self, service: str) -> Iterator[None]:
        """A block in which a service is not there."""
        port = {"embedding_service": "EMBEDDING_PORT", "vector_db": "QDRANT_PORT"}[service]
        self._stack.stop(service, signal.SIGKILL)
        try:
            yield
        finally:
            self._stack.start(service)
            self._stack.wait_for(port)

    def crowd_the_embedding_service(self) -> None:
        """More texts at once than it takes: some are refused with 429."""
        url = f"{self._stack.env['EMBEDDING_URL']}/embed"

        def embed(number: int) -> int:
            body = {"inputs": [f"{number} {text} " * 40 for text in range(4)]}
            return httpx.post(url, json=body, timeout=60, trust_env=False).status_code

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            statuses = set(pool.map(embed, range(48)))
        assert 429 in statuses, statuses

    def note_a_backup(self) -> None:
        """What a backup leaves behind in DATA_DIR."""
        folder = self._stack.folder / "data"
        (folder / "last_backup.json").write_text(json.dumps({"finished_at": time.time(), "folder": "x", "chunks": 4}))


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
