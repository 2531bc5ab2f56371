"""Code, questions, prompts, answers and keys are in no line of any service at the default level, whatever fails."""

import contextlib
import json
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.live import free_port, live
from tests.support.quoting_proxy import QuotingProxy
from tests.support.scripted_llm import ScriptedLlm
from tests.support.stack import Stack, running

SERVICES = ("rag_app", "embedding_service", "llm_service", "vector_db")

# Words that no program and no library has of itself. Each is looked for in every log.
CODE, NEW_CODE, FILE = "zanzibarlaunch", "tanganyikadrill", "kilwaharbour"
QUESTION, INSTRUCTION, ANSWER = "quaggastripes", "okapistretch", "bongomeadow"
MODEL_KEY, EMBEDDING_KEY, WRONG_KEY = "sk-upstreamkudu77", "embedkey-oryx88", "wrongkey-eland99"
RAG_KEY, QDRANT_KEY = "ragkey-topi55-long-enough-to-be-one", "qdrantkey-sitatunga66"
URL_USER, URL_PASSWORD, URL_TOKEN = "dikdikuser", "hunterimpala2", "tokengerenuk3"
GARBAGE = "dugongnoise"
WORDS = (
    *(CODE, NEW_CODE, FILE, QUESTION, INSTRUCTION, ANSWER, MODEL_KEY, EMBEDDING_KEY, WRONG_KEY),
    *(RAG_KEY, QDRANT_KEY),
    *(URL_USER, URL_PASSWORD, URL_TOKEN, GARBAGE),
)

KEYS = {"rag_app": RAG_KEY, "embedding_service": EMBEDDING_KEY, "llm_service": "none", "vector_db": QDRANT_KEY}

SOURCE = f'def {CODE}(target):\n    """Launch what {CODE} is for."""\n    return target.fire("{CODE}")\n'

ABOUT = f"what does {CODE} launch, and is the target fired by {CODE}?"

# A bug of ours, in the place where every service could have one: it raises with all that it was sent.
BUG = """
import service_kit.middleware as middleware
served = middleware.BodyLimit.__call__
async def explode(self, scope, receive, send):
    if scope["type"] == "http" and any(name == b"x-explode" for name, _ in scope["headers"]):
        body = (await receive())["body"].decode()
        try:
            raise KeyError(body)
        except KeyError as exc:
            raise RuntimeError(f"{scope['path']} {scope['headers']} {body}") from exc
    await served(self, scope, receive, send)
middleware.BodyLimit.__call__ = explode
"""


@dataclass
class Place:
    """The stack, the ways to its services that can fail, and its model. `told`: all that callers were answered."""

    stack: Stack
    project: Path
    embedding: QuotingProxy
    qdrant: QuotingProxy
    model: ScriptedLlm
    told: list[str] = field(default_factory=list)

    def ports(self) -> dict[str, int]:
        names = {"rag_app": "RAG_PORT", "embedding_service": "EMBEDDING_PORT", "llm_service": "LLM_PORT"}
        ports = {service: int(self.stack.env[name]) for service, name in names.items()}
        return {**ports, "vector_db": int(self.stack.env["QDRANT_PORT"])}

    def post(self, path: str, body: object, service: str = "rag_app", **headers: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.ports()[service]}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"content-type": "application/json", "authorization": f"Bearer {RAG_KEY}", **named}
        answer = httpx.post(url, content=content, headers=named, timeout=120, trust_env=False)
        self.told.append(answer.text)
        return answer

    def get(self, path: str) -> Any:
        key = {"authorization": f"Bearer {RAG_KEY}"}
        return httpx.get(f"{self.stack.url}{path}", headers=key, trust_env=False).json()

    def index(self) -> dict[str, str]:
        """Index the project, to the job's end; returns the job."""
        body = {"source": {"type": "path", "path": str(self.project)}, "name": "project"}
        job = self.post("/v1/repositories", body).json()["job"]
        while job["state"] in ("queued", "running"):
            time.sleep(0.1)
            job = self.get(f"/v1/jobs/{job['id']}")
        self.told.append(json.dumps(job))
        return job  # type: ignore[no-any-return]

    def ask_everything(self) -> None:
        """Each kind of question once, whatever becomes of it."""
        for mode in ("hybrid", "dense", "sparse", "symbol"):
            self.post("/v1/search", {"query": f"{QUESTION} {CODE}", "mode": mode, "explain": True})
        for stream in (False, True):
            self.post("/v1/ask", {"question": f"{ABOUT} {QUESTION}", "stream": stream})
            self.post("/v1/generate", {"instruction": f"{INSTRUCTION} {CODE}", "stream": stream})

    def logs(self) -> dict[str, list[str]]:
        return {service: (self.stack.folder / f"{service}.log").read_text().splitlines() for service in SERVICES}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("private").resolve()
    project = folder / "project"
    project.mkdir()
    (project / "plain.py").write_text(SOURCE)
    model = ScriptedLlm()
    model.will_say(f"```python\ndef {ANSWER}():\n    return 1\n```\nSee {ANSWER} [1].")
    ports = free_port(), free_port()
    embedding, qdrant = (QuotingProxy(f"http://127.0.0.1:{port}") for port in ports)
    with live(model.app()) as upstream, live(embedding) as embedding_url, live(qdrant) as qdrant_url:
        extra = {
            "LLM_BASE_URL": f"{upstream}/v1",
            "OPENAI_API_KEY": MODEL_KEY,
            "EMBEDDING_API_KEY": EMBEDDING_KEY,
            "QDRANT_API_KEY": QDRANT_KEY,
            "RAG_API_KEY": RAG_KEY,
            "EMBEDDING_PORT": str(ports[0]),
            "EMBEDDING_URL": embedding_url,
            "QDRANT_PORT": str(ports[1]),
            "LLM_MODEL": model.model,
        }
        own = {"rag_app": {"QDRANT_PORT": qdrant_url.rpartition(":")[2]}}
        with running(folder, extra, own, BUG) as stack:
            yield Place(stack, project, embedding, qdrant, model)


def fail_at_the_model(place: Place) -> None:
    said = f"your prompt was {CODE} {QUESTION} {INSTRUCTION} and your key {MODEL_KEY}"
    for status in (400, 401, 404, 422, 429, 500, 503):
        for body in ({"error": {"message": said, "type": "BadRequestError", "code": status}}, said):
            place.model.failures = [(status, body)] * 2
            place.post("/v1/ask", {"question": f"{ABOUT} {QUESTION}"})
            place.post("/v1/generate", {"instruction": f"{INSTRUCTION} {CODE}", "stream": True})
    place.model.failures = []


def fail_on_the_way(place: Place, way: QuotingProxy, paths: tuple[str, ...]) -> None:
    """Each failure of a peer, while asking and while indexing: with new code, that has to pass the way."""
    for number, status in enumerate((400, 401, 404, 413, 422, 424, 429, 500, 503, 200)):
        (place.project / "new.py").write_text(SOURCE.replace(CODE, f"{NEW_CODE}{number}"))
        way.status, way.paths = status, paths
        place.ask_everything()
        if status in (422, 500, 200):
            assert place.index()["state"] == "failed"
    way.status = None


def keys_of(service: str) -> dict[str, str]:
    """The headers by which a service lets a caller in."""
    return {"authorization": f"Bearer {KEYS[service]}", "api_key": QDRANT_KEY}


def send_what_is_wrong(place: Place) -> None:
    for service, path in (
        ("rag_app", "/v1/search"),
        ("rag_app", "/v1/ask"),
        ("rag_app", "/v1/repositories"),
        ("embedding_service", "/embed"),
        ("embedding_service", "/v1/embeddings"),
        ("llm_service", "/v1/chat/completions"),
        ("vector_db", "/collections/code/points/query"),
        ("vector_db", f"/collections/{GARBAGE}/points/search"),
    ):
        shown = keys_of(service)
        bodies: list[object] = [
            f'{{"query": "{QUESTION}", "{GARBAGE}": '.encode(),
            {"query": {CODE: QUESTION}, "question": [QUESTION], "inputs": {GARBAGE: CODE}, "messages": CODE},
            {GARBAGE: CODE, "limit": QUESTION, "vector": CODE, "source": {"type": CODE}},
            f'"{QUESTION}'.encode() + b"\xff\xfe",
            f'{{"query": "{CODE} \\ud800", "question": "{CODE} \\ud800", "inputs": "{CODE} \\ud800"}}'.encode(),
            json.dumps({"query": QUESTION + "x" * 2_000_000}).encode(),
        ]
        for body in bodies:
            place.post(path, body, service, authorization=f"Bearer {WRONG_KEY}", api_key=WRONG_KEY)
            place.post(path, body, service, **shown)
        place.post(f"/{GARBAGE}/{CODE}?q={QUESTION}", {}, service)
        place.post(path, {"q": 1}, service, content_type=GARBAGE, origin=f"https://{GARBAGE}", host=GARBAGE)
        place.post(path, f"{QUESTION} {CODE}".encode(), service, x_explode="1", **shown)


def send_what_is_no_http(place: Place) -> None:
    upgrade = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: aGVsbG8="
    for port in place.ports().values():
        for said in (
            f"{GARBAGE} {QUESTION}\r\n\r\n",
            f"GET /{GARBAGE}?q={QUESTION} HTTP/1.1\r\nhost: localhost\r\n{upgrade}\r\n\r\n",
            f"GET / HTTP/1.1\r\nhost: localhost\r\n{GARBAGE} {CODE}\r\n\r\n",
            f"POST /v1/search HTTP/1.1\r\nhost: localhost\r\ncontent-length: {GARBAGE}\r\n\r\n{QUESTION}",
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(said.encode())
                connection.settimeout(2)
                with contextlib.suppress(OSError):
                    connection.recv(4_096)


def send_at_random(place: Place) -> None:
    dice = random.Random(7)
    valid = {
        ("rag_app", "/v1/search"): {"query": QUESTION, "limit": 3, "mode": "hybrid", "paths": ["*.py"]},
        ("rag_app", "/v1/generate"): {"instruction": INSTRUCTION, "path": "a.py", "language": "python"},
        ("embedding_service", "/embed"): {"inputs": [CODE, QUESTION], "truncate": True},
        ("llm_service", "/v1/chat/completions"): {"model": "m", "messages": [{"role": "user", "content": QUESTION}]},
        ("vector_db", "/collections/code/points/scroll"): {"filter": {"must": [{"key": CODE, "match": {"value": 1}}]}},
    }
    for (service, path), body in valid.items():
        for _ in range(40):
            raw = bytearray(json.dumps(body).encode())
            for _ in range(dice.randint(1, 4)):
                at = dice.randrange(len(raw))
                raw[at : at + dice.randint(0, 2)] = bytes([dice.choice(b'{}[]":,0-e\\\x00\xff\xc3a')])
            place.post(path, bytes(raw), service, **keys_of(service))


def index_from_addresses_with_secrets(place: Place) -> None:
    for url in (
        f"https://{URL_USER}:{URL_PASSWORD}@127.0.0.1:9/{FILE}.git",
        f"https://127.0.0.1:9/{FILE}.git?token={URL_TOKEN}",
        f"ssh://{URL_USER}@127.0.0.1:9/{FILE}.git",
    ):
        answer = place.post("/v1/repositories", {"source": {"type": "git", "url": url}}).json()
        while answer.get("job", {}).get("state") in ("queued", "running"):
            time.sleep(0.1)
            answer = {"job": place.get(f"/v1/jobs/{answer['job']['id']}")}
        place.told.append(json.dumps(answer))


def index_files_that_are_odd(place: Place) -> None:
    (place.project / f"{FILE}.py").write_bytes(b"\xff\xfe\x00" + CODE.encode())
    (place.project / "broken.py").write_text(f"def {CODE}(:\n  '''{NEW_CODE}\n" * 50)
    (place.project / f"{FILE}.json").write_text('{"' + CODE + '": ' + "[" * 3_000)
    (place.project / "locked.py").symlink_to("nowhere")


def test_nothing_private_is_in_any_log_whatever_fails(place: Place) -> None:
    assert place.index()["state"] == "succeeded"
    place.ask_everything()
    index_files_that_are_odd(place)
    place.index()
    fail_at_the_model(place)
    fail_on_the_way(place, place.embedding, ("/embed",))
    fail_on_the_way(place, place.qdrant, ("/points",))
    send_what_is_wrong(place)
    send_what_is_no_http(place)
    send_at_random(place)
    index_from_addresses_with_secrets(place)
    for service in SERVICES:
        place.stack.stop(service)

    told = "\n".join(place.told)
    missing = [word for word in (CODE, NEW_CODE, QUESTION, ANSWER) if word not in told]
    assert not missing, "callers are shown these, so that they did pass"
    logs = place.logs()
    found = {
        (word, service, line[:400])
        for service, lines in logs.items()
        for line in lines
        for word in WORDS
        if word in line.lower()
    }
    assert not found

    rows = [json.loads(line) for lines in logs.values() for line in lines]
    # Without these failures in the logs the above would be cheap.
    unhandled = {row["service"] for row in rows if row["message"] == "unhandled"}
    assert unhandled == set(SERVICES)
    assert all("RuntimeError" in row["exception"] for row in rows if row["message"] == "unhandled")
    details = {row.get("detail") for row in rows}
    assert {"Qdrant answered 500", "the embedding service answered 500"} <= details
    assert any(str(detail).startswith("git fetch failed with code") for detail in details)
    assert sum(row["message"] == "a job failed" for row in rows) >= 6
    assert any(row["message"] == "no language model" for row in rows)
