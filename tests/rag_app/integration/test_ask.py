"""POST /v1/ask over HTTP: a scripted language model behind the real client, and hits that each test lays down."""

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler

from rag_app.db.manifest import Manifest
from rag_app.db.records import INDEXED, FileRow, FileUpdate, Source
from rag_app.features.generation.extractive import LEAD, NOTHING, NOTHING_INDEXED
from rag_app.features.generation.prompt import NOT_FOUND
from service_kit.errors import Unavailable
from tests.support.canned_search import CannedSearch, hit
from tests.support.dripping_llm import DrippingLlm
from tests.support.live import free_port, live
from tests.support.rag import parsed, serve_generation
from tests.support.scripted_llm import ScriptedLlm

LOCK = "def close(self):\n    with self._lock:\n        self._pool.clear()"
QUESTION = "where is the lock taken?"


@dataclass
class Rag:
    """The server under test, with what its tests set: `llm.will_say(...)`, `search.hits = [...]`."""

    llm: ScriptedLlm
    search: CannedSearch
    http: httpx.Client
    manifest: Manifest

    def generate(self, **fields: Any) -> str:
        answer = self.http.post("/v1/generate", json={"instruction": QUESTION, **fields})
        assert answer.status_code == 200, answer.text
        body = dict(parsed(answer.text))["final_answer"] if fields.get("stream") else answer.json()
        return str(body["code"])

    def ask(self, question: str = QUESTION, **fields: Any) -> dict[str, Any]:
        answer = self.http.post("/v1/ask", json={"question": question, **fields})
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def stream(self, **fields: Any) -> list[tuple[str, dict[str, Any]]]:
        answer = self.http.post("/v1/ask", json={"question": QUESTION, "stream": True, **fields})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        return parsed(answer.text)


@pytest.fixture
def rag(manifest: Manifest) -> Iterator[Rag]:
    llm, search = ScriptedLlm(), CannedSearch([hit("src/lock.py", LOCK, symbol="Pool.close", start_line=10)])
    with (
        live(llm.app()) as llm_url,
        live(serve_generation(search, manifest, f"{llm_url}/v1", llm_timeout_s=30)) as url,
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        yield Rag(llm, search, http, manifest)


def test_answer_cites_only_chunks_that_were_retrieved(rag: Rag) -> None:
    rag.llm.will_say("It is taken in `close` [1], not in `open` [9]. `args[0]` is no citation.")
    answer = rag.ask()
    assert answer["answer"] == "It is taken in `close` [1], not in `open`. `args[0]` is no citation."
    assert answer["citations_removed"] == 1
    assert answer["citations"] == [
        {
            "index": 1,
            "repository": "repo",
            "commit": "c" * 40,
            "path": "src/lock.py",
            "start_line": 10,
            "end_line": 12,
            "sha256": hashlib.sha256(LOCK.encode()).hexdigest(),
        }
    ]
    assert (answer["mode"], answer["abstained"], answer["degraded"]) == ("generative", False, [])
    assert answer["hits"][0]["content"] == LOCK
    assert answer["usage"]["prompt_tokens"] == 10
    assert set(answer["took_ms"]) == {"search", "answer", "total"}


def test_a_citation_of_a_repository_on_github_links_to_its_lines(rag: Rag) -> None:
    identifier = rag.manifest.register("flask", Source("git", "https://github.com/pallets/flask.git"))
    [found] = rag.search.hits
    object.__setattr__(found.chunk, "repository", identifier)
    rag.llm.will_say("Here [1].")
    [citation] = rag.ask()["citations"]
    assert citation["url"] == f"https://github.com/pallets/flask/blob/{'c' * 40}/src/lock.py#L10-L12"


@contextmanager
def recorded() -> Iterator[list[str]]:
    """The names of LlamaIndex's events within the block."""
    seen: list[str] = []

    class Recorder(BaseEventHandler):
        def handle(self, event: Any, **_: Any) -> None:
            seen.append(type(event).__name__)

    root = get_dispatcher()
    root.add_event_handler(Recorder())
    try:
        yield seen
    finally:
        root.event_handlers.pop()


ENGINE = ["QueryStartEvent", "RetrievalStartEvent", "RetrievalEndEvent", "SynthesizeStartEvent", "QueryEndEvent"]


@pytest.mark.parametrize("stream", [False, True])
def test_no_answer_reaches_the_caller_without_passing_our_retriever_and_query_engine(rag: Rag, stream: bool) -> None:
    sentinel = "xyzzy_only_the_retriever_knows_this"
    rag.search.hits = [hit("a.py", f"def {sentinel}(): ...", symbol=sentinel)]
    rag.llm.failures = [(503, {"error": {"message": "no model"}})]
    with recorded() as seen:
        extractive, generative = [dict(rag.stream())["final_answer"] if stream else rag.ask() for _ in range(2)]
    for name in ENGINE:
        assert seen.count(name) == 2, f"{name}: {seen}"
    # The words of either answer can only have come from the retriever's nodes.
    assert sentinel in extractive["answer"]
    assert sentinel in rag.llm.requests[-1]["messages"][-1]["content"]
    assert generative["answer"] == "Hello."


@pytest.mark.parametrize("stream", [False, True])
def test_no_code_reaches_the_caller_without_passing_our_retriever_and_query_engine(rag: Rag, stream: bool) -> None:
    sentinel = "xyzzy_only_the_retriever_knows_this"
    rag.search.hits = [hit("a.py", f"def {sentinel}(): ...", symbol=sentinel)]
    rag.llm.will_say("```python\nx = 1\n```")
    with recorded() as seen:
        assert rag.generate(stream=stream) == "x = 1\n"
    for name in ENGINE:
        assert seen.count(name) == 1, f"{name}: {seen}"
    assert sentinel in rag.llm.requests[-1]["messages"][-1]["content"]


def test_the_model_is_asked_with_numbered_passages_and_their_places(rag: Rag) -> None:
    rag.search.hits.append(hit("b.py", "def other(): ..."))
    rag.ask()
    system, user = rag.llm.requests[0]["messages"]
    assert "[1] src/lock.py:10-12 Pool.close\n" + LOCK in user["content"]
    assert "[2] b.py:1-1" in user["content"]
    assert user["content"].endswith(f"Question: {QUESTION}")
    assert "data" in system["content"]


@pytest.mark.parametrize(
    "failure", [(503, {"error": {"message": "set OPENAI_API_KEY"}}), (500, "oops"), (429, {}), (200, {"odd": 1})]
)
def test_a_model_that_fails_costs_the_answer_its_words_and_not_its_passages(rag: Rag, failure: tuple[int, Any]) -> None:
    rag.search.degraded = ("embedding",)
    rag.llm.failures = [failure]
    answer = rag.ask()
    assert answer["mode"] == "extractive"
    assert answer["degraded"] == ["embedding", "llm"]
    assert not answer["abstained"]
    assert answer["answer"] == f"{LEAD}\n\n`Pool.close` in `src/lock.py:10-12` [1]\n\n```python\n{LOCK}\n```"
    assert [citation["path"] for citation in answer["citations"]] == ["src/lock.py"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_says_nothing_is_done_without(rag: Rag, stream: bool) -> None:
    rag.llm.will_say(" \n")
    final = dict(rag.stream())["final_answer"] if stream else rag.ask()
    assert (final["mode"], final["degraded"], len(final["citations"])) == ("extractive", ["llm"], 1)


def test_a_model_that_is_late_or_not_there_is_done_without(manifest: Manifest) -> None:
    slow, search = ScriptedLlm(delay_s=60), CannedSearch([hit("src/lock.py", LOCK)])
    with live(slow.app()) as slow_url:
        for llm_url in (f"{slow_url}/v1", f"http://127.0.0.1:{free_port()}/v1"):
            with live(serve_generation(search, manifest, llm_url, llm_timeout_s=0.3)) as url:
                for stream in (False, True):
                    body = {"question": QUESTION, "stream": stream}
                    answer = httpx.post(f"{url}/v1/ask", json=body, timeout=30)
                    final = dict(parsed(answer.text))["final_answer"] if stream else answer.json()
                    assert (final["mode"], final["degraded"]) == ("extractive", ["llm"])


def test_when_nothing_relevant_is_found_it_says_so_and_asks_no_model(rag: Rag) -> None:
    index_one_chunk(rag.manifest)
    for found in ([], [hit("a.py", "x = 1", dense=0.1)]):
        rag.search.hits = found
        answer = rag.ask()
        assert (answer["answer"], answer["abstained"], answer["citations"]) == (NOTHING, True, [])
        assert answer["degraded"] == []
        events = rag.stream()
        assert [name for name, _ in events] == ["search_results", "message", "final_answer", "done"]
        assert events[2][1]["abstained"]
    assert rag.llm.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_where_nothing_is_indexed_at_all_it_says_so_and_how_to_begin(rag: Rag, stream: bool) -> None:
    rag.search.hits = []
    answer = dict(rag.stream())["final_answer"] if stream else rag.ask()
    assert (answer["answer"], answer["abstained"]) == (NOTHING_INDEXED, True)
    assert "code-assistant index" in NOTHING_INDEXED


def index_one_chunk(manifest: Manifest) -> None:
    identifier = manifest.register("flask", Source("path", "/src/flask"))
    manifest.files.commit(identifier, [FileUpdate(FileRow("a.py", "blob", INDEXED, "python", 1), {1: 1})])


def test_an_irrelevant_hit_is_shown_but_is_not_in_the_prompt_and_cannot_be_cited(rag: Rag) -> None:
    rag.search.hits.insert(0, hit("noise.py", "noise = 1", dense=0.1))
    rag.llm.will_say("See [1] and [2].")
    answer = rag.ask()
    assert [one["path"] for one in answer["hits"]] == ["noise.py", "src/lock.py"]
    assert answer["answer"] == "See and [2]."
    assert [(one["index"], one["path"]) for one in answer["citations"]] == [(2, "src/lock.py")]
    assert "noise" not in rag.llm.requests[0]["messages"][-1]["content"]


def test_a_model_that_finds_no_answer_in_the_passages_abstains(rag: Rag) -> None:
    rag.llm.will_say(NOT_FOUND)
    assert rag.ask()["abstained"]
    rag.llm.will_say("It is somewhere.")
    uncited = rag.ask()
    assert (uncited["abstained"], uncited["citations"]) == (False, [])


def test_a_stream_comes_in_order_and_adds_up_to_its_final_answer(rag: Rag) -> None:
    rag.search.hits.append(hit("b.py", "def other(): ..."))
    rag.llm.will_say("It is taken in close [1]; see [2], [1] and [7].")
    events = rag.stream()
    names = [name for name, _ in events]
    assert names[0] == "search_results"
    assert names[-2:] == ["final_answer", "done"]
    assert set(names[1:-2]) == {"message", "citation"}
    final = events[-2][1]
    assert "".join(data["delta"] for name, data in events if name == "message") == final["answer"]
    assert final["answer"] == "It is taken in close [1]; see [2], [1] and."
    assert [data for name, data in events if name == "citation"] == final["citations"]
    assert [one["index"] for one in final["citations"]] == [1, 2]
    # A citation comes right after the text that first uses it.
    assert events[names.index("citation") - 1][1]["delta"].endswith("[1]")
    assert names.count("message") > 5
    assert final["citations_removed"] == 1
    assert final["usage"]["completion_tokens"] > 0
    assert events[0][1]["hits"] == final["hits"]


def test_a_model_that_dies_in_mid_stream_ends_in_an_error_and_no_final_answer(manifest: Manifest) -> None:
    search = CannedSearch([hit("src/lock.py", LOCK)])
    with live(DrippingLlm(breaks_off=True)) as llm, live(serve_generation(search, manifest, f"{llm}/v1")) as url:
        body = {"question": QUESTION, "stream": True}
        answer = httpx.post(f"{url}/v1/ask", json=body, headers={"x-request-id": "r1"}, timeout=30)
    events = parsed(answer.text)
    assert [name for name, _ in events] == ["search_results", "message", "error", "done"]
    assert events[2][1]["error"]["code"] == "upstream"
    assert events[2][1]["error"]["request_id"] == "r1"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_who_leaves_ends_the_models_call(manifest: Manifest, stream: bool) -> None:
    dripping = DrippingLlm(is_silent=not stream)
    search = CannedSearch([hit("src/lock.py", LOCK)])
    with live(dripping) as llm, live(serve_generation(search, manifest, f"{llm}/v1")) as url:
        async with httpx.AsyncClient() as http:
            body = {"question": QUESTION, "stream": stream}
            asking = asyncio.create_task(http.post(f"{url}/v1/ask", json=body))
            await _happens(dripping.came)
            await asyncio.sleep(0.5)
            assert not asking.done()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        await _happens(dripping.left)


async def _happens(event: asyncio.Event) -> None:
    for _ in range(1500):
        if event.is_set():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen within 30 s")


def test_a_conversations_last_message_is_the_question(rag: Rag) -> None:
    messages = [
        {"role": "user", "content": "what does Pool do?"},
        {"role": "assistant", "content": "It pools."},
        {"role": "user", "content": "and where is it closed?"},
    ]
    answer = rag.http.post("/v1/ask", json={"messages": messages})
    assert answer.status_code == 200
    asked = rag.llm.requests[0]["messages"]
    assert [turn["role"] for turn in asked] == ["system", "user", "assistant", "user"]
    assert asked[-1]["content"].endswith("Question: and where is it closed?")
    # The question before it tells what "it" is.
    assert rag.search.asked[0][0].text == "what does Pool do?\nand where is it closed?"


def test_filters_reach_the_search(rag: Rag) -> None:
    filters = {"languages": ["python"], "paths": ["src/"], "symbols": ["close"], "ref": "dev", "mode": "sparse"}
    rag.ask(repositories=["repo"], limit=3, **filters)
    query, scope = rag.search.asked[0]
    assert (query.filters.languages, query.filters.paths, query.filters.symbols) == (("python",), ("src/",), ("close",))
    assert (query.ref, query.mode, query.limit, scope) == ("dev", "sparse", 3, frozenset({"repo"}))


def test_a_search_that_cannot_be_done_is_told_as_such_before_any_stream(rag: Rag) -> None:
    rag.search.failure = Unavailable("Qdrant cannot be reached", retry_after_s=1)
    for stream in (False, True):
        answer = rag.http.post("/v1/ask", json={"question": QUESTION, "stream": stream})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        ({"question": " \n "}, 400, "empty", "blank"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "empty", "blank"),
        ({"question": "x" * 100_000}, 422, "validation", "100000 characters; the limit is 8000"),
        ({"question": "x", "messages": [{"role": "user", "content": "y"}]}, 422, "validation", "either"),
        ({}, 422, "validation", "either"),
        ({"messages": []}, 422, "validation", "last of 'messages'"),
        ({"messages": [{"role": "assistant", "content": "y"}]}, 422, "validation", "last of 'messages'"),
        ({"messages": [{"role": "system", "content": "y"}]}, 422, "validation", "'user' or 'assistant'"),
        ({"question": "x", "langs": ["python"]}, 422, "validation", "langs"),
        ({"question": "x", "limit": 0}, 422, "validation", "1 to 100"),
        ({"question": "x", "limit": 10_000}, 422, "validation", "limit is 10000"),
        ({"question": "x", "repositories": ["nope"]}, 404, "not_found", "nope"),
    ],
)
def test_bad_input_is_told_its_value_and_its_limit(
    rag: Rag, body: dict[str, Any], status: int, code: str, says: str
) -> None:
    answer = rag.http.post("/v1/ask", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert says in error["message"]
    assert rag.llm.requests == []
