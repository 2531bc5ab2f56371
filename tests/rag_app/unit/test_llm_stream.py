"""A chat completion's events, however their bytes are cut and whoever wrote them."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from rag_app.clients.llm_stream import chunks, counts_of, delta_of

EVENTS = (
    b'data: {"choices":[{"delta":{"role":"assistant","content":"a\xc3\xa9"}}]}\n\n'
    b": keep-alive\n\n"
    b'data: {"choices":[{"delta":{"content":"b"}}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n\n'
    b"data: [DONE]\n\n"
)


class Parts(httpx.AsyncByteStream):
    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part

    async def aclose(self) -> None:
        self.is_closed = True


def response(*parts: bytes) -> httpx.Response:
    return httpx.Response(200, stream=Parts(list(parts)), request=httpx.Request("POST", "http://llm/v1"))


async def read(*parts: bytes) -> list[dict[str, Any]]:
    return [chunk async for chunk in chunks(response(*parts))]


@pytest.mark.parametrize("size", [1, 3, 50, 10_000])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
async def test_events_are_the_same_however_they_are_cut(size: int, line_end: bytes) -> None:
    sent = EVENTS.replace(b"\n", line_end)
    got = await read(*(sent[at : at + size] for at in range(0, len(sent), size)))
    assert [delta_of(chunk) for chunk in got] == ["aé", "b", ""]
    assert [counts_of(chunk) for chunk in got] == [
        {}, {}, {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    ]  # fmt: skip


async def test_nothing_is_read_after_done_and_the_response_is_closed() -> None:
    answer = response(EVENTS, b'data: {"choices":[{"delta":{"content":"late"}}]}\n\n')
    assert len([chunk async for chunk in chunks(answer)]) == 3
    assert answer.is_closed


async def test_leaving_closes_the_response() -> None:
    answer = response(EVENTS)
    told = chunks(answer)
    await anext(told)
    await told.aclose()
    assert answer.is_closed


async def test_a_last_event_without_a_blank_line_counts() -> None:
    assert [delta_of(c) for c in await read(b'data:{"choices":[{"delta":{"content":"x"}}]}')] == ["x"]
    assert await read(b"data: [DONE]") == []


async def test_data_on_several_lines_is_one_event() -> None:
    assert await read(b'data: {"choices":\ndata: []}\n\n') == [{"choices": []}]


async def test_an_event_that_is_an_error_is_raised_with_its_words() -> None:
    with pytest.raises(openai.APIError, match="out of memory"):
        await read(b'data: {"error":{"message":"out of memory"}}\n\n')
    with pytest.raises(openai.APIError, match="An error occurred"):
        await read(b'data: {"error":"bad"}\n\n')


@pytest.mark.parametrize("event", [b"data: [1]\n\n", b"data: {broken\n\n"])
async def test_an_event_that_is_no_object_is_refused(event: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        await read(event)
