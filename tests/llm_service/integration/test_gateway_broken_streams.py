"""Streams that begin with an error, hold one or break off: what the client reads, and what its SDK raises."""

from typing import Any

import httpx
import openai
import pytest

from tests.llm_service.conftest import Start
from tests.llm_service.wire import HELLO, ask, error_event_in, error_of, metrics, post, sdk
from tests.support.unruly_llm import END, FIRST, UnrulyLlm, stream

GRAMMAR = (
    b'data: {"error": {"message": "Grammar error: at 1(8)", "type": "BadRequestError", "param": null, "code": 400}}'
)
ENGINE = (
    b'data: {"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", '
    b'"param": null, "code": 500}}'
)
DONE = b"\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize(
    "pieces",
    [
        (GRAMMAR + DONE,),
        (GRAMMAR + b"\n\n", 0.02, b"data: [DONE]\n\n"),
        # Found here: of the half of it that came first, no status could be read, and the answer was a 502.
        (GRAMMAR[:60], 0.02, GRAMMAR[60:] + DONE),
        (GRAMMAR[:10], 0.02, GRAMMAR[10:] + DONE),
        (GRAMMAR[:3], 0.02, GRAMMAR[3:] + DONE),
        (GRAMMAR.replace(b"data: ", b"data:") + DONE,),
        (GRAMMAR.replace(b"\n", b"\r\n") + b"\r\n\r\ndata: [DONE]\r\n\r\n",),
    ],
)
async def test_an_error_as_the_first_event_of_a_stream_becomes_a_status(start: Start, pieces: Any) -> None:
    url = start(UnrulyLlm([stream(*pieces)]))
    with pytest.raises(openai.BadRequestError, match="Grammar error") as caught:
        await sdk(url).chat.completions.create(model="m", messages=HELLO, stream=True)
    error = error_of(caught.value.response)
    assert (error["type"], error["code"]) == ("invalid_request_error", None)
    assert (await metrics(url)).value("llm_requests_total", outcome="validation") == 1


async def test_a_backends_fault_as_the_first_event_is_tried_again(start: Start) -> None:
    upstream = UnrulyLlm([stream(ENGINE + DONE), stream(ENGINE[:40], 0.02, ENGINE[40:] + DONE), stream(FIRST, END)])
    response = await post(start(upstream), stream=True)
    assert (response.content, upstream.calls) == (FIRST + END, 3)


@pytest.mark.parametrize(
    "pieces",
    [
        (FIRST, 0.02, ENGINE + DONE),
        (FIRST + ENGINE + DONE,),
        (FIRST, 0.02, ENGINE[:40], 0.02, ENGINE[40:], 0.02, DONE),
        (FIRST, 0.02, ENGINE + b"\n\n", 0.02, b"data: [DONE]\n\n"),
    ],
)
async def test_an_error_in_mid_stream_ends_it_in_the_envelope_and_without_done(start: Start, pieces: Any) -> None:
    url = start(UnrulyLlm([stream(*pieces)]))
    response = await post(url, stream=True)
    assert response.status_code == 200
    assert response.content.startswith(FIRST)
    error = error_event_in(response.text)
    assert (error["type"], error["code"]) == ("server_error", "upstream")
    assert "EngineCore" in error["message"]
    chunks = await sdk(url).chat.completions.create(model="m", messages=HELLO, stream=True)
    assert (await anext(chunks)).choices[0].delta.content == "a"
    with pytest.raises(openai.APIError, match="EngineCore") as caught:
        await anext(chunks)
    assert caught.value.code == "upstream"
    assert (await metrics(url)).value("llm_requests_total", outcome="upstream") == 2


async def test_a_refused_key_in_mid_stream_names_its_setting(start: Start) -> None:
    refused_key = b'data: {"error":{"message":"no","code":401}}\n\n'
    response = await post(start(UnrulyLlm([stream(FIRST, 0.02, refused_key)])), stream=True)
    assert error_event_in(response.text)["message"].endswith("refused the key (401); check LLM_UPSTREAM_API_KEY")


async def test_a_callers_fault_in_mid_stream_is_told_as_his(start: Start) -> None:
    response = await post(start(UnrulyLlm([stream(FIRST, 0.02, GRAMMAR + DONE)])), stream=True)
    assert error_event_in(response.text)["type"] == "invalid_request_error"


# --- streams that break off ------------------------------------------------------------------------------------------


async def broken_stream(url: str) -> tuple[str, openai.APIError]:
    said = ""
    try:
        async for chunk in await ask(url, stream=True):
            said += chunk.choices[0].delta.content or ""
    except openai.APIError as error:
        return said, error
    raise AssertionError("the client took the broken stream for a whole one")


HALF = b'data: {"id":"c","choices":[{"index":0,"del'


@pytest.mark.parametrize(
    ("play", "settings", "code"),
    [
        (stream(FIRST, ending="dies"), {}, "upstream"),
        (stream(FIRST, HALF, ending="dies"), {}, "upstream"),
        (stream(FIRST, ending="clean"), {}, "upstream"),  # a proxy before the model may end it politely
        (stream(FIRST, ending="hangs"), {"llm_idle_timeout_s": 0.3}, "timeout"),
        (stream(FIRST, 0.2, FIRST, 0.2, FIRST, 0.2, ending="hangs"), {"llm_total_timeout_s": 0.5}, "timeout"),
    ],
)
async def test_a_stream_that_breaks_ends_with_an_error_and_no_done(
    start: Start, play: Any, settings: dict[str, Any], code: str
) -> None:
    url = start(UnrulyLlm([play]), **settings)
    said, error = await broken_stream(url)
    assert said.startswith("a")
    assert error.code == code
    raw = (await post(url, stream=True)).text
    assert "[DONE]" not in raw
    assert HALF.decode() not in raw
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(url + "/metrics")).text
    assert f'llm_requests_total{{backend="default",model="m",outcome="{code}"}} 2.0' in metrics


async def test_a_stream_that_dies_before_its_first_byte_is_tried_again(start: Start) -> None:
    upstream = UnrulyLlm([stream(ending="dies"), stream(ending="clean"), stream(FIRST, END)])
    said = [chunk.choices[0].delta.content async for chunk in await ask(start(upstream), stream=True)]
    assert said == ["a", "a"]
    assert upstream.calls == 3
