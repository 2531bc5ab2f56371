"""POST /v1/generate over HTTP: code after the repository's own, parsed, repaired once, cited."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from llm_service.core.settings import LlmSettings
from llm_service.main import create_app as llm_app
from rag_app.db.manifest import Manifest
from service_kit.errors import Unavailable
from tests.support.canned_search import CannedSearch, hit
from tests.support.live import free_port, live
from tests.support.rag import parsed, serve_generation
from tests.support.scripted_llm import ScriptedLlm

POOL = "def open_pool(size):\n    return Pool(size)"
GOOD = "```python\ndef two():\n    return open_pool(2)\n```\nDrew on: [1]"
BROKEN = "```python\ndef two(:\n    return 2\n```"


@pytest.fixture
def llm() -> ScriptedLlm:
    return ScriptedLlm(replies=[GOOD])


@pytest.fixture
def search() -> CannedSearch:
    return CannedSearch([hit("src/pool.py", POOL, symbol="open_pool"), hit("src/x.go", "func X() {}", language="go")])


@pytest.fixture
def rag(llm: ScriptedLlm, search: CannedSearch, manifest: Manifest) -> Iterator[httpx.Client]:
    with (
        live(llm.app()) as llm_url,
        live(serve_generation(search, manifest, f"{llm_url}/v1")) as url,
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        yield http


def generate(rag: httpx.Client, instruction: str = "open two pools", **fields: Any) -> dict[str, Any]:
    answer = rag.post("/v1/generate", json={"instruction": instruction, **fields})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_code_is_taken_from_its_fence_parsed_and_cited(rag: httpx.Client, llm: ScriptedLlm) -> None:
    made = generate(rag, language="python")
    assert made["code"] == "def two():\n    return open_pool(2)\n"
    assert made["language"] == "python"
    assert made["checks"] == {"parses": True, "repaired": False}
    assert [(one["index"], one["path"]) for one in made["citations"]] == [(1, "src/pool.py")]
    assert [one["path"] for one in made["hits"]] == ["src/pool.py", "src/x.go"]
    prompt = llm.requests[0]["messages"][-1]["content"]
    assert POOL in prompt
    assert prompt.endswith("Write python code. Instruction: open two pools")
    assert len(llm.requests) == 1
    assert made["usage"]["total_tokens"] == 10


def test_what_the_code_uses_is_cited_even_where_the_model_names_nothing(rag: httpx.Client, llm: ScriptedLlm) -> None:
    llm.will_say("```python\nopen_pool(3)\n```")
    assert [one["path"] for one in generate(rag)["citations"]] == ["src/pool.py"]
    llm.will_say("```python\nprint(3)\n```\nDrew on: [2] and [7].")
    assert [one["path"] for one in generate(rag)["citations"]] == ["src/x.go"]


def test_code_that_does_not_parse_is_sent_back_once_with_the_error(rag: httpx.Client, llm: ScriptedLlm) -> None:
    llm.will_say(BROKEN, GOOD)
    made = generate(rag)
    assert made["checks"] == {"parses": True, "repaired": True}
    assert "open_pool(2)" in made["code"]
    *_, reply, complaint = llm.requests[1]["messages"]
    assert reply["content"] == BROKEN
    assert "does not parse" in complaint["content"]
    assert "line 1" in complaint["content"]
    assert made["usage"]["total_tokens"] == 20


def test_code_that_no_grammar_can_check_is_given_as_it_is_and_says_so(rag: httpx.Client, llm: ScriptedLlm) -> None:
    llm.will_say("```haskell\nmain = print (1\n```")
    made = generate(rag, language="Haskell")
    assert (made["language"], made["code"]) == ("haskell", "main = print (1\n")
    assert made["checks"] == {"repaired": False}
    assert len(llm.requests) == 1


def test_code_that_still_does_not_parse_says_where(rag: httpx.Client, llm: ScriptedLlm) -> None:
    llm.will_say(BROKEN)
    made = generate(rag)
    assert (made["checks"]["parses"], made["checks"]["repaired"]) == (False, True)
    assert made["checks"]["error"]["line"] == 1
    assert made["checks"]["error"]["column"] >= 1
    assert made["code"].startswith("def two(:")
    assert len(llm.requests) == 2


@pytest.mark.parametrize(
    ("replies", "code", "checks"),
    [
        (["```bash\npip install a-long-name another\n```\n```python\nx = 1\n```"], "x = 1\n", (True, False)),
        (["x = 1\n\nDrew on: [1]"], "x = 1", (True, False)),
        (["Sure, I can (", "```python\nx = 1\n```"], "x = 1\n", (True, True)),
        (["```go\npackage main\n```", "```python\nx = 1\n```"], "x = 1\n", (True, True)),
        (['````python\nx = """\n```\n"""\n````'], 'x = """\n```\n"""\n', (True, False)),
        (["I cannot (do that."], "I cannot (do that.", (False, True)),
    ],
)
def test_odd_replies_give_the_code_that_is_in_them(
    rag: httpx.Client, llm: ScriptedLlm, replies: list[str], code: str, checks: tuple[bool, bool]
) -> None:
    llm.will_say(*replies)
    made = generate(rag, language="python")
    assert made["code"] == code
    assert (made["checks"]["parses"], made["checks"]["repaired"]) == checks


def test_a_reply_without_any_code_is_the_models_failure(rag: httpx.Client, llm: ScriptedLlm) -> None:
    llm.will_say("```python\n```")
    answer = rag.post("/v1/generate", json={"instruction": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream")
    assert len(llm.requests) == 2


def test_the_language_is_the_paths_or_that_of_most_hits(
    rag: httpx.Client, llm: ScriptedLlm, search: CannedSearch
) -> None:
    llm.will_say("```go\npackage main\n```")
    assert generate(rag, path="cmd/main.go")["language"] == "go"
    assert "for the file cmd/main.go" in llm.requests[0]["messages"][-1]["content"]
    search.hits += [hit("b.go", "func B() {}", language="go"), hit("c.md", "# C", language="markdown")] * 2
    assert generate(rag)["language"] == "go"


def test_without_a_model_it_is_503_naming_the_settings_and_never_a_template(
    search: CannedSearch, manifest: Manifest
) -> None:
    with live(serve_generation(search, manifest, f"http://127.0.0.1:{free_port()}/v1")) as url:
        for stream in (False, True):
            answer = httpx.post(f"{url}/v1/generate", json={"instruction": "x", "stream": stream}, timeout=30)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
            assert "OPENAI_API_KEY" in answer.json()["error"]["message"]
            assert "LLM_BASE_URL" in answer.json()["error"]["message"]


def test_a_stream_shows_the_replies_and_ends_with_the_checked_code(rag: httpx.Client, llm: ScriptedLlm) -> None:
    llm.will_say(BROKEN, GOOD)
    answer = rag.post("/v1/generate", json={"instruction": "x", "stream": True})
    events = parsed(answer.text)
    names = [name for name, _ in events]
    assert names[0] == "search_results"
    assert names[-3:] == ["citation", "final_answer", "done"]
    said = "".join(data["delta"] for name, data in events if name == "message")
    assert said == f"{BROKEN}\n\n{GOOD}"
    assert events[-2][1]["checks"] == {"parses": True, "repaired": True}
    assert events[-3][1] == events[-2][1]["citations"][0]


@pytest.mark.parametrize("stream", [False, True])
def test_where_nothing_is_indexed_there_is_nothing_to_draw_on(
    rag: httpx.Client, llm: ScriptedLlm, search: CannedSearch, stream: bool
) -> None:
    search.hits = []
    answer = rag.post("/v1/generate", json={"instruction": "x", "stream": stream})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert llm.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_with_neither_an_index_nor_a_model_the_model_is_named_first(manifest: Manifest, stream: bool) -> None:
    with (
        live(llm_app(LlmSettings(_env_file=None))) as llm_url,
        live(serve_generation(CannedSearch(), manifest, f"{llm_url}/v1")) as url,
    ):
        answer = httpx.post(f"{url}/v1/generate", json={"instruction": "x", "stream": stream}, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert "OPENAI_API_KEY" in answer.json()["error"]["message"]
    assert "LLM_BASE_URL" in answer.json()["error"]["message"]


def test_a_model_that_lists_no_models_does_not_hide_that_nothing_is_indexed(manifest: Manifest) -> None:
    with (
        live(FastAPI()) as llm_url,  # 404 to everything
        live(serve_generation(CannedSearch(), manifest, f"{llm_url}/v1")) as url,
    ):
        answer = httpx.post(f"{url}/v1/generate", json={"instruction": "x"}, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("stream", [False, True])
def test_a_search_that_is_down_is_not_blamed_on_the_model(
    rag: httpx.Client, search: CannedSearch, stream: bool
) -> None:
    search.failure = Unavailable("Qdrant cannot be reached", retry_after_s=1)
    answer = rag.post("/v1/generate", json={"instruction": "x", "stream": stream})
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "Qdrant cannot be reached")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"instruction": " "}, 400, "blank"),
        ({"instruction": "x" * 100_000}, 422, "the limit is 8000"),
        ({}, 422, "instruction"),
        ({"instruction": "x", "lang": "go"}, 422, "lang"),
        ({"instruction": "x", "language": "klingon"}, 422, "klingon"),
    ],
)
def test_bad_instructions_are_told_why(
    rag: httpx.Client, llm: ScriptedLlm, body: dict[str, Any], status: int, says: str
) -> None:
    answer = rag.post("/v1/generate", json=body)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]
    assert llm.requests == []
