"""`python -m rag_app` as a process: it starts without its peers, and its /readyz tells what is missing."""

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from llama_index.core.llms import MockLLM
from starlette.responses import Response

from llm_service.core.settings import LlmSettings
from llm_service.main import create_app as create_llm_service
from rag_app.core.settings import RagSettings
from rag_app.main import create_app
from tests.support.live import free_port, live
from tests.support.scripted_llm import ScriptedLlm
from tests.support.stack import environment


@contextmanager
def started(env: dict[str, str], folder: Path) -> Iterator[str]:
    """The process, answering; ended with SIGTERM."""
    with (folder / "rag_app.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "rag_app"], env=env, cwd=folder, stdout=log, stderr=log)
    url, deadline = f"http://127.0.0.1:{env['RAG_PORT']}", time.monotonic() + 60
    try:
        while not _is_alive(url):
            assert process.poll() is None, (folder / "rag_app.log").read_text()
            assert time.monotonic() < deadline, "it did not answer within 60 s"
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _is_alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def checks(url: str) -> dict[str, dict[str, Any]]:
    """What /readyz says, by name."""
    return {check["name"]: check for check in httpx.get(f"{url}/readyz", timeout=60).json()["checks"]}


def test_it_starts_alone_and_tells_what_is_missing_and_which_setting_leads_to_it(tmp_path: Path) -> None:
    with started(environment(tmp_path, {}), tmp_path) as url:
        answer = httpx.get(f"{url}/readyz", timeout=60)
        told = checks(url)
    assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
    assert {name: (check["ok"], check["required"]) for name, check in told.items()} == {
        "qdrant": (False, True),
        "embedding": (False, False),
        "llm": (False, False),
    }
    assert "QDRANT_HOST" in told["qdrant"]["detail"]
    assert "EMBEDDING_URL" in told["embedding"]["detail"]
    assert "LLM_URL" in told["llm"]["detail"]


def rag_over(llm_url: str, folder: Path) -> FastAPI:
    nobody = free_port()
    settings = RagSettings(
        _env_file=None,
        data_dir=folder,
        llm_url=llm_url,
        qdrant_port=nobody,
        embedding_url=f"http://127.0.0.1:{nobody}",
    )
    return create_app(settings)


def test_without_a_configured_model_it_names_the_settings_that_would_change_that(tmp_path: Path) -> None:
    gateway = create_llm_service(LlmSettings(_env_file=None))
    with live(gateway) as llm_url, live(rag_over(f"{llm_url}/v1", tmp_path)) as url:
        told = checks(url)["llm"]
    assert (told["ok"], told["required"]) == (False, False)
    assert "OPENAI_API_KEY" in told["detail"]
    assert "LLM_BASE_URL" in told["detail"]


def test_a_wrong_llm_base_url_is_told_with_its_address_and_in_words(tmp_path: Path) -> None:
    wrong = f"http://127.0.0.1:{free_port()}/v1"
    gateway = create_llm_service(LlmSettings(_env_file=None, llm_base_url=wrong))
    with live(gateway) as llm_url, live(rag_over(f"{llm_url}/v1", tmp_path)) as url:
        told = checks(url)["llm"]
    assert not told["ok"]
    assert wrong in told["detail"]
    assert "{" not in told["detail"]  # the gateway's sentence, not its JSON


def test_an_address_without_its_v1_is_told_as_such(tmp_path: Path) -> None:
    with live(ScriptedLlm().app()) as upstream:
        gateway = create_llm_service(LlmSettings(_env_file=None, llm_base_url=upstream))
        with live(gateway) as llm_url, live(rag_over(f"{llm_url}/v1", tmp_path)) as url:
            told = checks(url)["llm"]
    assert not told["ok"]
    assert "/v1" in told["detail"]


@pytest.mark.parametrize("through_gateway", [True, False])
def test_a_model_that_answers_is_told_as_there_and_is_asked_for_no_words(tmp_path: Path, through_gateway: bool) -> None:
    model = ScriptedLlm()
    with live(model.app()) as upstream:
        gateway = create_llm_service(LlmSettings(_env_file=None, llm_base_url=f"{upstream}/v1"))
        peer = gateway if through_gateway else model.app()
        with live(peer) as llm_url, live(rag_over(f"{llm_url}/v1", tmp_path)) as url:
            told = checks(url)["llm"]
    assert told["ok"], told
    assert model.requests == []


def test_a_model_that_was_handed_in_is_not_asked(tmp_path: Path) -> None:
    settings = RagSettings(_env_file=None, data_dir=tmp_path, qdrant_port=free_port())
    with live(create_app(settings, llm=MockLLM())) as url:
        assert checks(url)["llm"]["ok"]


def test_a_monitor_that_asks_often_does_not_ask_the_model_each_time(tmp_path: Path) -> None:
    asked = 0
    model = ScriptedLlm().app()

    @model.middleware("http")
    async def count(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        nonlocal asked
        asked += 1
        return await answer(request)

    with live(model) as upstream, live(rag_over(f"{upstream}/v1", tmp_path)) as url:
        assert [checks(url)["llm"]["ok"] for _ in range(5)] == [True] * 5
    assert asked == 1
