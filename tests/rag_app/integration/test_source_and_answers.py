"""The whole RAG server over real files: what is indexed is asked about through the real gateway, and opened again."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from qdrant_client import AsyncQdrantClient

from llm_service.core.settings import LlmSettings
from llm_service.main import create_app as create_gateway
from rag_app.core.models import Chunk, Span
from rag_app.core.settings import RagSettings
from rag_app.db.chunks import ChunkStore
from rag_app.features.source.service import lines_of
from rag_app.main import create_app
from tests.support.fake_tei import FakeTei
from tests.support.live import live
from tests.support.rag import parsed
from tests.support.scripted_llm import ScriptedLlm

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

POOL = '''"""A pool of connections."""

import threading


class Pool:
    """Connections that are lent."""

    def close(self):
        """Close every connection, under the lock."""
        with self.lock:
            self.connections.clear()
'''


@dataclass
class Server:
    """A running RAG server over one indexed folder; `bare` has no language model behind its gateway."""

    http: httpx.Client
    bare: httpx.Client
    llm: ScriptedLlm
    root: Path
    repository: str

    def source(self, status: int = 200, **params: Any) -> dict[str, Any]:
        answer = self.http.get("/v1/source", params={"repository": self.repository, **params})
        assert answer.status_code == status, answer.text
        body: dict[str, Any] = answer.json()
        return body


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("rag")
    root = folder / "code"
    root.mkdir()
    (root / "pool.py").write_text(POOL)
    (root / "windows.py").write_bytes(b"a = 1\r\nb = 2\r\n")
    (root / "blank.py").write_text("\n\n")
    (root / "logo.png").write_bytes(b"\x89PNG\x00\x00")
    (root / "long.py").write_text("".join(f"value_{n} = compute({n})\n" for n in range(4000)))
    llm = ScriptedLlm()
    with ExitStack() as stack:
        tei = stack.enter_context(live(FakeTei(max_input_length=256, max_client_batch_size=64).app()))
        model = stack.enter_context(live(llm.app()))
        store_settings = RagSettings(_env_file=None)
        shared = AsyncQdrantClient(":memory:")

        def rag(gateway: LlmSettings, data: Path) -> httpx.Client:
            llm_url = stack.enter_context(live(create_gateway(gateway)))
            settings = RagSettings(
                _env_file=None, data_dir=data, allowed_roots=str(root), embedding_url=tei, llm_url=f"{llm_url}/v1"
            )
            url = stack.enter_context(live(create_app(settings, store=ChunkStore(store_settings, shared))))
            return stack.enter_context(httpx.Client(base_url=url, timeout=60))

        http = rag(LlmSettings(_env_file=None, llm_base_url=f"{model}/v1", openai_api_key=None), folder / "data")
        repository = indexed(http, root)
        bare = rag(LlmSettings(_env_file=None, llm_base_url=None, openai_api_key=None), folder / "data")
        yield Server(http, bare, llm, root, repository)


def indexed(http: httpx.Client, root: Path) -> str:
    made = http.post("/v1/repositories", json={"source": {"type": "path", "path": str(root)}})
    assert made.status_code == 202, made.text
    deadline = time.monotonic() + 60
    while True:
        job = http.get(f"/v1/jobs/{made.json()['job']['id']}").json()
        if job["state"] not in ("queued", "running"):
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert job["state"] == "succeeded", job
    identifier: str = made.json()["repository"]["id"]
    return identifier


def test_an_answers_citations_opened_at_their_lines_are_what_was_quoted(server: Server) -> None:
    server.llm.will_say("Under the lock [1], says [99].")
    asked = {"question": "where does Pool close its connections under the lock?"}
    answer = server.http.post("/v1/ask", json=asked).json()
    assert answer["answer"] == "Under the lock [1], says."
    assert (answer["mode"], answer["degraded"]) == ("generative", [])
    [citation] = answer["citations"]
    assert citation["path"] == "pool.py"
    lines = {"start_line": citation["start_line"], "end_line": citation["end_line"]}
    opened = server.source(path="pool.py", **lines)
    assert opened["sha256"] == citation["sha256"]
    assert opened["content"] in POOL
    assert opened["content"] == answer["hits"][0]["content"]
    assert opened["commit"] == citation["commit"]


def test_without_a_model_the_same_question_is_answered_from_the_passages(server: Server) -> None:
    asked = {"question": "where does Pool close its connections under the lock?"}
    answer = server.bare.post("/v1/ask", json=asked).json()
    assert (answer["mode"], answer["degraded"], answer["abstained"]) == ("extractive", ["llm"], False)
    assert "self.connections.clear()" in answer["answer"]
    assert "pool.py" in [citation["path"] for citation in answer["citations"]]
    events = parsed(server.bare.post("/v1/ask", json={**asked, "stream": True}).text)
    assert events[-2][1]["answer"] == answer["answer"]


def test_without_a_model_no_code_is_generated(server: Server) -> None:
    answer = server.bare.post("/v1/generate", json={"instruction": "close a pool"})
    assert answer.status_code == 503
    assert "OPENAI_API_KEY" in answer.json()["error"]["message"]
    assert "LLM_BASE_URL" in answer.json()["error"]["message"]


def test_code_is_generated_from_what_is_indexed(server: Server) -> None:
    server.llm.will_say("```python\nPool().close()\n```\nDrew on: [1]")
    answer = server.http.post("/v1/generate", json={"instruction": "close the Pool of connections"}).json()
    assert (answer["language"], answer["checks"]["parses"]) == ("python", True)
    assert answer["citations"]
    assert "Pool" in server.llm.requests[-1]["messages"][-1]["content"]


def test_filters_in_a_question_or_an_instruction_narrow_what_is_drawn_on(server: Server) -> None:
    said = "where are connections of Pool computed?"
    for question, paths in ((f"{said} path:long.py", {"long.py"}), (f"{said} path:pool.py repo:code", {"pool.py"})):
        answer = server.bare.post("/v1/ask", json={"question": question}).json()
        assert {hit["path"] for hit in answer["hits"]} == paths
    server.llm.will_say("```python\nPool().close()\n```\nDrew on: [1]")
    written = server.http.post("/v1/generate", json={"instruction": "close the Pool symbol:Pool.close"}).json()
    assert {hit["symbol"] for hit in written["hits"]} == {"Pool.close"}
    for route, field in (("search", "query"), ("ask", "question"), ("generate", "instruction")):
        unknown = server.http.post(f"/v1/{route}", json={field: "close repo:nobody"})
        assert unknown.status_code == 404
        assert "no repository 'nobody'" in unknown.json()["error"]["message"]


def test_a_question_about_something_else_is_not_answered(server: Server) -> None:
    asked = len(server.llm.requests)
    answer = server.http.post("/v1/ask", json={"question": "zebra quagga okapi habitat", "mode": "sparse"}).json()
    assert (answer["abstained"], answer["citations"]) == (True, [])
    assert len(server.llm.requests) == asked


def test_the_lines_of_a_file_are_those_that_were_indexed(server: Server) -> None:
    whole = server.source(path="pool.py")
    assert whole["content"] == POOL.removesuffix("\n")
    assert (whole["start_line"], whole["end_line"], whole["total_lines"]) == (1, 12, 12)
    assert (whole["language"], whole["path"], whole["repository"]) == ("python", "pool.py", server.repository)
    some = server.source(path="pool.py", start_line=6, end_line=7)
    assert some["content"] == 'class Pool:\n    """Connections that are lent."""'
    assert some["sha256"] == hashlib.sha256(some["content"].encode()).hexdigest()
    assert server.source(path="pool.py", start_line=12)["content"] == "            self.connections.clear()"
    assert server.source(path="windows.py")["content"] == "a = 1\r\nb = 2\r"


def test_a_long_file_comes_back_whole_from_its_many_chunks(server: Server) -> None:
    text = (server.root / "long.py").read_text()
    assert server.source(path="long.py")["content"] == text.removesuffix("\n")
    assert server.source(path="long.py", start_line=1000, end_line=1000)["content"] == "value_999 = compute(999)"


def test_a_working_tree_that_moved_on_does_not_change_what_a_citation_shows(server: Server) -> None:
    before = (server.root / "windows.py").read_bytes()
    (server.root / "windows.py").write_text("gone = True\n")
    try:
        assert server.source(path="windows.py")["content"] == "a = 1\r\nb = 2\r"
    finally:
        (server.root / "windows.py").write_bytes(before)


@pytest.mark.parametrize(
    ("params", "status", "says"),
    [
        ({"path": "nope.py"}, 404, "nope.py"),
        ({"path": "../code/pool.py"}, 404, "no file"),
        ({"path": "logo.png"}, 404, "binary"),
        ({"path": "blank.py"}, 404, "empty"),
        ({"path": "pool.py", "ref": "nope"}, 404, "no indexed ref 'nope'"),
        ({"path": "pool.py", "repository": "nope"}, 404, "no repository"),
        ({"path": "pool.py", "start_line": 5, "end_line": 13}, 422, "lines 1 to 12"),
        ({"path": "pool.py", "start_line": 13}, 422, "lines 1 to 12"),
        ({"path": "pool.py", "start_line": 5, "end_line": 4}, 422, "after end_line"),
        ({"path": "pool.py", "start_line": 0}, 422, "start_line"),
        ({"path": "pool.py", "end_line": "x"}, 422, "end_line"),
    ],
)
def test_lines_that_are_not_there_are_refused_with_the_limits(
    server: Server, params: dict[str, Any], status: int, says: str
) -> None:
    assert says in server.source(status, **params)["error"]["message"]


def test_chunks_that_overlap_or_leave_blank_lines_out_still_make_a_file() -> None:
    def chunk(start: int, text: str) -> Chunk:
        span = Span("a", start, start + text.count("\n"))
        return Chunk(str(start), "r", "base", "b", span, "text", "text", "", "", text)

    assert lines_of([chunk(1, "one\ntwo"), chunk(2, "two\nthree"), chunk(5, "five")]) == [
        "one",
        "two",
        "three",
        "",
        "five",
    ]
    assert lines_of([]) == []
