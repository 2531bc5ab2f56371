"""Tokens are always counted; a client sees the counts only where it asked, and nothing else is touched."""

from typing import Any

import httpx
import orjson
import pytest

from tests.llm_service.conftest import Start
from tests.llm_service.wire import CHAT, COMPLETION, HELLO, Noting, post, sdk, settled
from tests.support.live import live
from tests.support.unruly_llm import FIRST, UnrulyLlm, answer, stream

BASE = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
CACHED: dict[str, Any] = {"prompt_tokens": 10, "total_tokens": 13, "completion_tokens": 3}
CACHED |= {"prompt_tokens_details": {"cached_tokens": 4}}
DONE = b"data: [DONE]\n\n"


def event(**fields: Any) -> bytes:
    return b"data: " + orjson.dumps({**BASE, **fields}) + b"\n\n"


def said(text: str, finish: str | None = None, **fields: Any) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **fields)


COUNTS = event(choices=[], usage=CACHED)
PLAIN = said("a") + said("b", "stop")


async def streamed(url: str, **body: Any) -> bytes:
    response = await post(url, stream=True, **body)
    assert response.status_code == 200
    return response.content


def wire_of(*pieces: bytes) -> Noting:
    return Noting(UnrulyLlm([stream(*pieces)]))


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"chunk_delimiter": 1}])
async def test_the_counts_are_asked_for_and_stripped_where_the_client_did_not_ask(start: Start, options: Any) -> None:
    upstream = wire_of(PLAIN, COUNTS, DONE)
    url = start(upstream)
    asked = {} if options is None else {"stream_options": options}
    assert await streamed(url, **asked) == PLAIN + DONE
    assert orjson.loads(upstream.bodies[0])["stream_options"] == {**(options or {}), "include_usage": True}
    counted = await settled(url)
    assert [counted.value("llm_tokens_total", kind=kind) for kind in ("prompt", "completion", "cached")] == [10, 3, 4]


async def test_the_counts_are_kept_where_the_client_asked_and_its_bytes_are_not_touched(start: Start) -> None:
    upstream = wire_of(PLAIN, COUNTS, DONE)
    url = start(upstream)
    body = b'{ "stream_options" : {"include_usage":true}, "stream":true,"model":"m","messages":[{"role":"user"}] }\n'
    async with httpx.AsyncClient() as http:
        response = await http.post(url + CHAT, content=body)
    assert response.content == PLAIN + COUNTS + DONE
    assert upstream.bodies == [body]
    assert (await settled(url)).value("llm_tokens_total", kind="completion") == 3


async def test_the_sdk_reads_a_stripped_stream_and_a_kept_one(start: Start) -> None:
    url = start(wire_of(PLAIN, COUNTS, DONE))
    for options, seen in ((None, [None, None]), ({"include_usage": True}, [None, None, 13])):
        asked: dict[str, Any] = {} if options is None else {"stream_options": options}
        chunks = await sdk(url).chat.completions.create(model="m", messages=HELLO, stream=True, **asked)
        assert [chunk.usage and chunk.usage.total_tokens async for chunk in chunks] == seen


async def test_only_a_field_is_added_to_the_clients_own_bytes(start: Start) -> None:
    upstream = wire_of(PLAIN, COUNTS, DONE)
    body = '{"model" : "m", "messages": [{"role":"user","content":"\\u00e4ö 1.10e1"}],"seed":1.0, "stream":true }  \n'
    async with httpx.AsyncClient() as http:
        await http.post(start(upstream) + CHAT, content=body.encode())
    kept, _, added = upstream.bodies[0].decode().rpartition(',"stream_options"')
    assert kept.rstrip() == body.rstrip()[:-1].rstrip()
    assert added == ':{"include_usage":true}}'
    assert orjson.loads(upstream.bodies[0])["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("body", [{}, {"stream": False}, {"stream": None}])
async def test_a_plain_request_gets_no_stream_options_and_arrives_byte_for_byte(start: Start, body: Any) -> None:
    upstream = Noting(UnrulyLlm([answer(200, COMPLETION)]))
    sent = orjson.dumps({"model": "m", "messages": HELLO, "guided_json": {"a": [1.5, None]}, **body})
    async with httpx.AsyncClient() as http:
        response = await http.post(start(upstream) + CHAT, content=sent)
    assert upstream.bodies == [sent]
    assert response.json() == COMPLETION


async def test_stream_options_that_are_none_are_the_backends_to_refuse(start: Start) -> None:
    upstream = wire_of(PLAIN, DONE)
    await streamed(start(upstream), stream_options="all")
    assert orjson.loads(upstream.bodies[0])["stream_options"] == "all"


async def test_counts_in_every_chunk_pass_and_only_the_bare_one_is_stripped(start: Start) -> None:
    counting = said("a", usage=CACHED) + said("b", "stop", usage=CACHED)
    url = start(wire_of(counting, COUNTS, DONE))
    assert await streamed(url) == counting + DONE
    kept = await streamed(url, stream_options={"include_usage": True, "continuous_usage_stats": True})
    assert kept == counting + COUNTS + DONE
    assert (await settled(url)).value("llm_tokens_total", kind="completion") == 6  # the last count, not their sum


async def test_openais_null_usage_is_no_count(start: Start) -> None:
    nulls = said("a", usage=None) + said("b", "stop", usage=None)
    url = start(wire_of(nulls, COUNTS, DONE))
    assert await streamed(url) == nulls + DONE
    assert (await settled(url)).value("llm_tokens_total", kind="completion") == 3


async def test_counts_are_found_and_stripped_wherever_the_bytes_are_torn(start: Start) -> None:
    whole = PLAIN + COUNTS + DONE
    begin = len(PLAIN) - 3
    plays = [stream(whole[:at], 0.002, whole[at:]) for at in range(begin, len(whole))]
    url = start(Noting(UnrulyLlm([*plays, plays[-1]])))
    async with httpx.AsyncClient() as http:
        for at in range(begin, len(whole)):
            response = await http.post(url + CHAT, json={"model": "m", "messages": HELLO, "stream": True})
            assert response.content == PLAIN + DONE, f"torn at {at}"
    assert (await settled(url)).value("llm_tokens_total", kind="cached") == 4 * len(plays)


async def test_a_single_byte_at_a_time_is_read_as_well(start: Start) -> None:
    whole = PLAIN + COUNTS + DONE
    url = start(wire_of(*[part for byte in whole for part in (bytes([byte]), 0.0)]))
    assert await streamed(url) == PLAIN + DONE
    assert (await settled(url)).value("llm_tokens_total", kind="prompt") == 10


# Found here: such a stream was cut off after the word.
@pytest.mark.parametrize(
    "words", ["[DONE]", "data: [DONE]", '\n\ndata: [DONE]\n\n{"error"', '"usage": {"choices": []}']
)
async def test_a_models_own_words_are_never_taken_for_the_protocol(start: Start, words: str) -> None:
    talk = [said("Servers end with "), said(words), said(", always.", "stop"), DONE]
    url = start(wire_of(*[part for piece in talk for part in (piece, 0.01)]))
    assert await streamed(url) == b"".join(talk)


async def test_a_backend_that_cannot_count_in_streams_is_not_asked(start: Start) -> None:
    upstream = wire_of(PLAIN, DONE)
    with live(upstream) as address:
        table = {"name": "old", "base_url": address + "/v1", "usage_in_streams": False}
        url = start(None, llm_backends=orjson.dumps([table]).decode())
        sent = orjson.dumps({"model": "m", "messages": HELLO, "stream": True})
        async with httpx.AsyncClient() as http:
            assert (await http.post(url + CHAT, content=sent)).content == PLAIN + DONE
    assert upstream.bodies == [sent]


async def test_a_plain_answers_tokens_are_counted_cached_ones_too(start: Start) -> None:
    url = start(UnrulyLlm([answer(200, {**COMPLETION, "usage": CACHED, "metrics": None})]))
    await post(url)
    counted = await settled(url)
    assert [
        counted.value("llm_tokens_total", kind=kind, backend="default", model="m")
        for kind in ("prompt", "completion", "cached")
    ] == [10, 3, 4]


async def test_a_stream_whose_server_counts_nothing_is_whole_and_counts_nothing(start: Start) -> None:
    url = start(wire_of(FIRST, said("b", "stop"), DONE))
    assert await streamed(url) == FIRST + said("b", "stop") + DONE
    assert (await settled(url)).value("llm_tokens_total") == 0
