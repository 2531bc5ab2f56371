"""What a caller sees when all is well, through OpenAI's own client and through bare HTTP."""

import asyncio
import threading

import httpx
import pytest
from openai import AsyncOpenAI

from tests.llm_service.conftest import Start
from tests.llm_service.wire import COMPLETION, sdk, until
from tests.support.scripted_llm import ScriptedLlm
from tests.support.unruly_llm import END, FIRST, UnrulyLlm, answer, stream, when

HELLO = [{"role": "user", "content": "hello"}]


def client(url: str) -> AsyncOpenAI:
    return sdk(url, "the caller's own")


async def test_openai_client_gets_a_whole_answer(start: Start, llm: ScriptedLlm) -> None:
    llm.will_say("The lock is taken in open().")
    completion = await client(start(llm.app())).chat.completions.create(model="scripted-model", messages=HELLO)
    assert completion.choices[0].message.content == "The lock is taken in open()."
    assert completion.model == "scripted-model"


async def test_openai_client_gets_a_stream_with_its_usage(start: Start, llm: ScriptedLlm) -> None:
    llm.will_say("See [1] and [2].")
    chunks = [
        chunk
        async for chunk in await client(start(llm.app())).chat.completions.create(
            model="scripted-model", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    ]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "See [1] and [2]."
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 10


async def test_the_first_token_arrives_while_the_model_still_thinks(start: Start) -> None:
    may_end = threading.Event()
    url = start(UnrulyLlm([stream(FIRST, may_end, END)]))
    async with (
        httpx.AsyncClient() as http,
        http.stream("POST", url + "/v1/chat/completions", json={"messages": HELLO, "stream": True}) as response,
    ):
        pieces = response.aiter_raw()
        assert await anext(pieces) == FIRST
        may_end.set()
        assert await anext(pieces) == END


async def test_a_stream_is_passed_on_byte_by_byte(start: Start) -> None:
    odd = (
        b': a comment\r\n\r\ndata:{"choices":[ ],  "x" :1}\n\nid: 7\nevent: vendor\ndata: {"finish_reason":"stop"}\n\n'
    )
    url = start(UnrulyLlm([stream(odd[:9], odd[9:40], odd[40:], b"data: [DONE]\n\n")]))
    async with httpx.AsyncClient() as http:
        response = await http.post(url + "/v1/chat/completions", json={"messages": HELLO, "stream": True})
    assert response.content == odd + b"data: [DONE]\n\n"
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"


async def test_unknown_fields_reach_the_upstream_in_the_callers_own_bytes(start: Start) -> None:
    seen: list[bytes] = []

    async def upstream(scope, receive, send):  # type: ignore[no-untyped-def]
        if scope["type"] == "http" and scope["method"] == "POST":
            seen.append((await receive())["body"])
        if scope["type"] == "http":
            await answer(200, {"data": [{"id": "m"}]})(send)

    body = b'{"model": "m",  "messages":[{"role":"user","content":"\\u00e9"}], "top_k": 5, "guided_json": {"a":1.0}}'
    async with httpx.AsyncClient() as http:
        await http.post(start(upstream) + "/v1/chat/completions", content=body)
    assert seen == [body]


async def test_request_id_goes_upstream_and_the_callers_key_does_not(start: Start, llm: ScriptedLlm) -> None:
    url = start(llm.app(), llm_upstream_api_key="sk-upstream")
    async with httpx.AsyncClient() as http:
        response = await http.post(
            url + "/v1/chat/completions",
            json={"model": "scripted-model", "messages": HELLO},
            headers={"x-request-id": "from-the-page-7", "authorization": "Bearer caller"},
        )
    assert response.headers["x-request-id"] == "from-the-page-7"
    assert llm.headers[0]["x-request-id"] == "from-the-page-7"
    assert llm.headers[0]["authorization"] == "Bearer sk-upstream"


async def test_openai_key_is_never_sent_to_another_server(start: Start, llm: ScriptedLlm) -> None:
    url = start(llm.app(), openai_api_key="sk-openai")
    await client(url).chat.completions.create(model="scripted-model", messages=HELLO)
    assert "authorization" not in llm.headers[0]


async def test_models_are_those_of_the_upstream(start: Start, llm: ScriptedLlm) -> None:
    llm.model = "Qwen/Qwen2.5-Coder-7B"
    openai = client(start(llm.app()))
    assert [model.id async for model in openai.models.list()] == ["Qwen/Qwen2.5-Coder-7B"]
    assert (await openai.models.retrieve("Qwen/Qwen2.5-Coder-7B")).owned_by == "test"


@pytest.mark.parametrize("asked", [{}, {"model": ""}, {"model": None}, {"model": "gpt-4o-mini"}])
async def test_default_name_means_the_only_model_that_is_served(start: Start, llm: ScriptedLlm, asked: dict) -> None:  # type: ignore[type-arg]
    async with httpx.AsyncClient() as http:
        response = await http.post(start(llm.app()) + "/v1/chat/completions", json={"messages": HELLO, **asked})
    assert llm.requests[0]["model"] == "scripted-model"
    assert response.json()["model"] == "scripted-model"


async def test_default_name_means_llm_model_where_it_is_set(start: Start) -> None:
    llm = ScriptedLlm(model="one-of-many")
    url = start(llm.app(), llm_model="qwen2.5-coder")
    async with httpx.AsyncClient() as http:
        for asked in ({}, {"model": "gpt-4o-mini"}, {"model": "one-of-many"}):
            await http.post(url + "/v1/chat/completions", json={"messages": HELLO, **asked})
    assert [request["model"] for request in llm.requests] == ["qwen2.5-coder", "qwen2.5-coder", "one-of-many"]


async def test_default_name_stays_itself_where_the_server_really_serves_it(start: Start) -> None:
    llm = ScriptedLlm(model="gpt-4o-mini")
    url = start(llm.app(), llm_model="qwen2.5-coder")
    await client(url).chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert llm.requests[0]["model"] == "gpt-4o-mini"


async def test_sixteen_callers_are_at_the_model_at_once(start: Start) -> None:
    may_answer = threading.Event()
    upstream = UnrulyLlm([when(may_answer, answer(200, COMPLETION))])
    openai = client(start(upstream))
    calls = [asyncio.create_task(openai.chat.completions.create(model="m", messages=HELLO)) for _ in range(16)]
    await until(lambda: upstream.active == 16, what="all at the model")
    may_answer.set()
    assert {(await call).choices[0].message.content for call in calls} == {"hi"}


async def test_metrics_tell_model_outcome_and_tokens(start: Start, llm: ScriptedLlm) -> None:
    llm.will_say("one two three")
    url = start(llm.app())
    openai = client(url)
    await openai.chat.completions.create(model="scripted-model", messages=HELLO)
    options = {"include_usage": True}
    async for _ in await openai.chat.completions.create(
        model="scripted-model", messages=HELLO, stream=True, stream_options=options
    ):
        pass
    async with httpx.AsyncClient() as http:
        text = (await http.get(url + "/metrics")).text
    assert 'llm_requests_total{backend="default",model="scripted-model",outcome="ok"} 2.0' in text
    assert 'llm_tokens_total{backend="default",kind="prompt",model="scripted-model"} 20.0' in text
    assert (
        'llm_tokens_total{backend="default",kind="completion",model="scripted-model"} 8.0' in text
    )  # 3 words, 5 pieces
    assert 'llm_time_to_first_token_seconds_count{backend="default",model="scripted-model"} 2.0' in text
    assert 'llm_duration_seconds_count{backend="default",model="scripted-model"} 2.0' in text
