"""How answers leave over HTTP when something goes wrong that nobody foresaw."""

from collections.abc import AsyncGenerator

import httpx
import pytest
from fastapi import FastAPI, Request
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.llms import MockLLM

from rag_app.features.generation.schemas import event_of
from rag_app.features.generation.streaming import events
from rag_app.features.generation.synthesizers import ExtractiveSynthesizer, Report
from tests.support.rag import parsed


async def test_an_unforeseen_failure_in_a_stream_keeps_its_text_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI()

    @app.get("/stream")
    async def stream(request: Request) -> object:
        async def failing() -> AsyncGenerator[str, None]:
            yield "a line\u2028and more"
            raise RuntimeError("password=hunter2")

        return events(request, failing(), event_of)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://rag") as http:
        answer = await http.get("/stream")
    [message, error, done] = parsed(answer.text)
    assert message == ("message", {"delta": "a line\u2028and more"})
    assert (error[0], error[1]["error"]["code"], done) == ("error", "internal", ("done", {}))
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text
    # Clients that split lines as Python does see each event whole.
    assert "\u2028" not in answer.text


def test_a_synthesizer_counts_no_tokens_with_a_file_of_the_network_and_offers_no_blocking_call() -> None:
    made = ExtractiveSynthesizer(MockLLM(), CallbackManager([]), Report())
    assert made._prompt_helper._token_counter.get_string_tokens("x" * 300) == 101
    assert made.get_prompts() == {}
    with pytest.raises(NotImplementedError, match="asynthesize"):
        made.get_response("q", [])
