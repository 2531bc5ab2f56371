"""OpenAI's own client reads the scripted provider's answers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk

from llm_service.providers.base import Answer, Call, Provider
from tests.support.providers import playing


def client_of(provider: Provider) -> AsyncOpenAI:
    """A client whose requests go to the provider, as a server would hand them on."""

    async def handle(request: httpx.Request) -> httpx.Response:
        far = asyncio.get_running_loop().time() + 5
        is_stream = b'"stream":true' in request.content
        answer = await provider.send(Call(request.url.path, request.content, is_stream, far, far))
        kind = "text/event-stream" if answer.is_stream else "application/json"
        return httpx.Response(200, headers={"content-type": kind}, content=_read(answer))

    http = httpx.AsyncClient(transport=httpx.MockTransport(handle))
    return AsyncOpenAI(base_url="http://scripted/v1", api_key="none", max_retries=0, http_client=http)


async def _read(answer: Answer) -> AsyncIterator[bytes]:
    yield answer.first
    while chunk := await answer.more():
        yield chunk


async def test_a_chat_whole_and_streamed() -> None:
    client = client_of(playing({"say": "In store.py."}))
    asked: Any = {"model": "scripted", "messages": [{"role": "user", "content": "Where?"}]}
    whole = await client.chat.completions.create(**asked)
    stream: AsyncStream[ChatCompletionChunk] = await client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content == "In store.py."
    assert whole.usage is not None
    assert chunks[-1].usage == whole.usage


async def test_a_tool_call_is_put_together_from_its_stream() -> None:
    client = client_of(playing({"tool_calls": [{"name": "find", "arguments": {"query": "lock"}}]}))
    async with client.chat.completions.stream(
        model="scripted", messages=[{"role": "user", "content": "Find it."}]
    ) as stream:
        final = await stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert (calls[0].function.name, calls[0].function.arguments) == ("find", '{"query":"lock"}')
    assert final.choices[0].finish_reason == "tool_calls"


async def test_embeddings_which_the_client_asks_for_in_base64() -> None:
    told = await client_of(playing(dimensions=4)).embeddings.create(model="scripted", input=["a", "b"])
    assert [len(row.embedding) for row in told.data] == [4, 4]
    assert abs(sum(value * value for value in told.data[0].embedding) - 1) < 1e-6  # float32


async def test_a_completion_streamed() -> None:
    client = client_of(playing({"say": "return x"}))
    stream = await client.completions.create(model="scripted", prompt="def f(x): ", stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == "return x"
    assert chunks[-1].choices[0].finish_reason == "stop"
