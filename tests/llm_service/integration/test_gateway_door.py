"""Refused at the door: too large, too many, too slow, too much asked for; and whoever waits is served in turn."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import openai
import orjson
import pytest

from llm_service.core.settings import LlmSettings
from llm_service.main import create_app
from tests.llm_service.conftest import Start
from tests.llm_service.wire import (
    CHAT,
    COMPLETION,
    HELLO,
    SOON_S,
    Noting,
    ask_bytes,
    connect,
    error_of,
    metrics,
    post,
    raw_answer,
    read_answer,
    request_bytes,
    sdk,
    settled,
    until,
)
from tests.support.live import live
from tests.support.scripted_llm import ScriptedLlm
from tests.support.unruly_llm import END, FIRST, UnrulyLlm, answer, hang, stream, when


def patient(seconds: float) -> Any:
    """A play that takes its time."""

    async def play(send: Any) -> None:
        await asyncio.sleep(seconds)
        await answer(200, COMPLETION)(send)

    return play


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize"])
async def test_a_body_over_the_limit_is_413_by_its_declared_length_and_unread(
    start: Start, llm: ScriptedLlm, path: str
) -> None:
    url = start(llm.app(), llm_max_body_bytes=1000)
    head = request_bytes(b"", path).replace(b"content-length: 0", b"content-length: 1001")
    status, _, body = await raw_answer(url, head)  # not one byte of it is sent
    assert status == 413
    assert (orjson.loads(body)["error"]["code"], llm.requests) == ("request_too_large", [])
    assert "1000" in orjson.loads(body)["error"]["message"]


async def test_a_chunked_body_is_413_as_soon_as_it_is_over_the_limit(start: Start, llm: ScriptedLlm) -> None:
    reader, writer = await connect(start(llm.app(), llm_max_body_bytes=1000))
    piece = b"258\r\n" + b"x" * 600 + b"\r\n"
    writer.write(f"POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n".encode() + 2 * piece)
    async with asyncio.timeout(30):  # the body has no end
        status, _, body = await read_answer(reader)
    writer.close()
    assert (status, orjson.loads(body)["error"]["code"], llm.requests) == (413, "request_too_large", [])


async def test_a_body_at_the_limit_is_served(start: Start, llm: ScriptedLlm) -> None:
    url = start(llm.app(), llm_max_body_bytes=1000)
    empty = len(orjson.dumps({"messages": HELLO, "user": ""}))
    async with httpx.AsyncClient() as http:
        for over, status in ((0, 200), (1, 413)):
            body = orjson.dumps({"messages": HELLO, "user": "x" * (1000 - empty + over)})
            assert (await http.post(url + CHAT, content=body)).status_code == status


async def test_too_many_at_once_wait_in_turn_and_beyond_the_queue_are_429(start: Start) -> None:
    may_answer = threading.Event()
    upstream = Noting(UnrulyLlm([when(may_answer, answer(200, COMPLETION))]))
    url = start(upstream, llm_max_concurrent_requests=1, llm_max_queued_requests=2, llm_queue_timeout_s=60)
    asked = []
    for number in range(3):
        asked.append(asyncio.create_task(post(url, user=str(number))))
        await until(lambda n=number: _waits(url, n), what=f"request {number} waits")  # type: ignore[misc]
    refused = await post(url, user="refused")
    assert (refused.status_code, error_of(refused)["code"]) == (429, "rate_limit_exceeded")
    assert error_of(refused)["type"] == "rate_limit_error"
    assert int(refused.headers["retry-after"]) >= 1
    may_answer.set()
    assert [answered.status_code for answered in await asyncio.gather(*asked)] == [200, 200, 200]
    assert [orjson.loads(body)["user"] for body in upstream.bodies] == ["0", "1", "2"]
    assert (await metrics(url)).value("llm_requests_total", outcome="overloaded") == 1


async def _waits(url: str, queued: int) -> bool:
    now = await metrics(url)
    return (now.value("llm_requests_in_work"), now.value("llm_requests_queued")) == (1, queued)


async def test_who_waits_too_long_is_429_and_the_sdk_raises_its_class(start: Start) -> None:
    url = start(UnrulyLlm([hang]), llm_max_concurrent_requests=1, llm_queue_timeout_s=0.2)
    first = asyncio.create_task(post(url))
    await until(lambda: _waits(url, 0), what="the first one is in work")
    with pytest.raises(openai.RateLimitError, match="no place became free") as caught:
        await sdk(url).chat.completions.create(model="m", messages=HELLO)
    assert caught.value.code == "rate_limit_exceeded"
    assert int(caught.value.response.headers["retry-after"]) >= 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert (await settled(url)).value("llm_requests_in_work") == 0


async def test_a_queued_client_that_leaves_asks_nothing_and_its_place_goes_to_the_next(start: Start) -> None:
    may_answer = threading.Event()
    upstream = Noting(UnrulyLlm([when(may_answer, answer(200, COMPLETION))]))
    url = start(upstream, llm_max_concurrent_requests=1, llm_max_queued_requests=1, llm_queue_timeout_s=60)
    first = asyncio.create_task(post(url, user="first"))
    await until(lambda: _waits(url, 0))
    leaver = asyncio.create_task(post(url, user="leaver"))
    await until(lambda: _waits(url, 1))
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    await until(lambda: _waits(url, 0))  # while the first is still in work
    third = asyncio.create_task(post(url, user="third"))
    await until(lambda: _waits(url, 1))
    may_answer.set()
    assert [(await asked).status_code for asked in (first, third)] == [200, 200]
    assert [orjson.loads(body)["user"] for body in upstream.bodies] == ["first", "third"]
    assert (await settled(url)).value("llm_requests_total", outcome="client_left") == 1


async def test_a_stream_keeps_its_place_to_its_end(start: Start) -> None:
    may_end = threading.Event()
    url = start(UnrulyLlm([stream(FIRST, may_end, END)]), llm_max_concurrent_requests=1, llm_max_queued_requests=0)
    async with httpx.AsyncClient() as http:
        body = {"model": "m", "messages": HELLO, "stream": True}
        async with http.stream("POST", url + CHAT, json=body) as response:
            pieces = response.aiter_raw()
            await anext(pieces)
            assert (await post(url)).status_code == 429
            may_end.set()
            async for _ in pieces:
                pass
        await settled(url)
        assert (await post(url, stream=True)).status_code == 200


async def test_a_refused_request_gives_its_place_back(start: Start) -> None:
    url = start(
        UnrulyLlm([answer(400, {"error": {"message": "no"}}), answer(200, COMPLETION)]),
        llm_max_concurrent_requests=1,
        llm_max_queued_requests=0,
    )
    assert [(await post(url)).status_code for _ in range(2)] == [400, 200]


LIMITS: dict[str, Any] = {"llm_max_tokens": 100, "llm_max_n": 2}


@pytest.fixture(scope="module")
def limited() -> Iterator[tuple[str, Noting]]:
    """A gateway with these limits, and what reaches its backend."""
    upstream = Noting(UnrulyLlm([answer(200, COMPLETION)]))
    with ExitStack() as stack:
        address = stack.enter_context(live(upstream))
        settings = LlmSettings(_env_file=None, llm_base_url=address + "/v1", **LIMITS)
        yield stack.enter_context(live(create_app(settings))), upstream


@pytest.mark.parametrize(
    ("asked", "arrives", "cut"),
    [
        ({"max_tokens": 101}, {"max_tokens": 100}, "max_tokens"),
        ({"max_tokens": 100}, {"max_tokens": 100}, None),
        ({"max_completion_tokens": 10**30}, {"max_completion_tokens": 100}, "max_completion_tokens"),
        ({"max_tokens": 5, "n": 3}, {"max_tokens": 5, "n": 2}, "n"),
        ({"max_tokens": 5, "n": 2}, {"max_tokens": 5, "n": 2}, None),
        ({"max_tokens": 1e9, "n": 9}, {"max_tokens": 100, "n": 2}, "max_tokens,n"),
        ({"max_tokens": 5, "best_of": 9}, {"max_tokens": 5, "best_of": 2}, "best_of"),
        ({}, {"max_tokens": 100}, "max_tokens"),
        ({"max_tokens": None}, {"max_tokens": 100}, "max_tokens"),
        ({"max_completion_tokens": 7}, {"max_completion_tokens": 7}, None),
        # pydantic, and with it vLLM, takes numbers in quotes: found here, they went through uncut.
        ({"max_tokens": "100000", "n": "9"}, {"max_tokens": 100, "n": 2}, "max_tokens,n"),
        ({"max_tokens": " 1_000 "}, {"max_tokens": 100}, "max_tokens"),
        ({"max_tokens": "50"}, {"max_tokens": "50"}, None),
        ({"max_tokens": "many"}, {"max_tokens": "many"}, None),
        # To llama.cpp and LM Studio -1 means no limit: found here, it went through uncut.
        ({"max_tokens": -1}, {"max_tokens": 100}, "max_tokens"),
        ({"max_tokens": "-1"}, {"max_tokens": 100}, "max_tokens"),
        # And so did llama.cpp's own word, which it takes before max_tokens.
        ({"max_tokens": 5, "n_predict": 9_999}, {"max_tokens": 5, "n_predict": 100}, "n_predict"),
        ({"max_tokens": 5, "n_predict": -2}, {"max_tokens": 5, "n_predict": 100}, "n_predict"),
        ({"n_predict": 7}, {"max_tokens": 100, "n_predict": 7}, "max_tokens"),  # which other servers pass over
        ({"max_tokens": 5, "n": -1}, {"max_tokens": 5, "n": -1}, None),
        # So a prompt is scored and nothing written: found here, it was taken for no limit, and 100 were written.
        ({"max_tokens": 0}, {"max_tokens": 0}, None),
        ({"max_completion_tokens": 0}, {"max_completion_tokens": 0}, None),
        ({"max_tokens": [1]}, {"max_tokens": [1]}, None),
    ],
)
async def test_what_is_over_a_limit_is_cut_to_it_and_told(
    limited: tuple[str, Noting], asked: dict[str, Any], arrives: dict[str, Any], cut: str | None
) -> None:
    url, upstream = limited
    upstream.bodies.clear()
    for is_stream in (False, True):
        response = await post(url, stream=is_stream, **asked)
        assert response.status_code == 200
        assert response.headers.get("x-cut-to-limit") == cut
    names = ("max_tokens", "max_completion_tokens", "n_predict", "n", "best_of")
    got = [orjson.loads(body) for body in upstream.bodies]
    assert [{name: body[name] for name in names if name in body} for body in got] == [arrives, arrives]


async def test_without_a_setting_no_max_tokens_is_added(start: Start) -> None:
    upstream = Noting(UnrulyLlm([answer(200, COMPLETION)]))
    url = start(upstream)
    await post(url)
    await post(url, max_tokens=10**6)
    assert [orjson.loads(body).get("max_tokens") for body in upstream.bodies] == [None, 32_768]


async def test_embeddings_and_tokens_are_not_cut(start: Start) -> None:
    upstream = Noting(UnrulyLlm([answer(200, {"data": []})]))
    url = start(upstream, **LIMITS)
    for path in ("/v1/embeddings", "/tokenize", "/detokenize"):
        response = await post(url, path, input="a", n=50, max_tokens=5000)
        assert "x-cut-to-limit" not in response.headers
    assert all(orjson.loads(body)["n"] == 50 for body in upstream.bodies)


# orjson reads 1,000 levels and writes 254: found here, such a request was a 500.
@pytest.mark.parametrize("depth", [200, 400, 2_000])
async def test_a_request_nested_deeply_is_passed_on_or_refused(start: Start, depth: int) -> None:
    upstream = UnrulyLlm([answer(200, COMPLETION)])
    nested = b"[" * depth + b"]" * depth
    body = b'{"model":"m","n":50,"messages":[{"role":"user","content":"x"}],"metadata":' + nested + b"}"
    async with httpx.AsyncClient() as http:
        response = await http.post(start(upstream) + CHAT, content=body)
    assert response.status_code == (200 if depth == 200 else 400)
    if response.status_code == 400:
        assert error_of(response)["type"] == "invalid_request_error"


async def test_a_model_that_nobody_serves_is_404_and_never_asked_for(start: Start) -> None:
    upstream = UnrulyLlm([answer(200, COMPLETION)])
    url = start(upstream)
    for is_stream in (False, True):
        with pytest.raises(openai.NotFoundError) as caught:
            await sdk(url).chat.completions.create(model="gpt-9", messages=HELLO, stream=is_stream)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert upstream.calls == 0


async def test_a_body_that_dribbles_is_408_within_its_time(start: Start, llm: ScriptedLlm) -> None:
    url = start(llm.app(), llm_body_timeout_s=0.5)
    reader, writer = await connect(url)
    writer.write(request_bytes(b"").replace(b"content-length: 0", b"content-length: 1000"))

    async def dribble() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.05)

    dribbling = asyncio.create_task(dribble())
    async with asyncio.timeout(SOON_S):
        status, _, body = await read_answer(reader)
    dribbling.cancel()
    writer.close()
    assert status == 408
    assert "LLM_BODY_TIMEOUT_S" in orjson.loads(body)["error"]["message"]
    assert llm.requests == []
    assert (await settled(url)).value("llm_requests_in_work") == 0


async def test_the_bytes_of_all_bodies_together_are_bounded(start: Start) -> None:
    url = start(UnrulyLlm([hang, answer(200, COMPLETION)]), llm_max_body_bytes=10_000, llm_max_bodies_bytes=15_000)
    holder = asyncio.create_task(post(url, user="x" * 9_000))
    await until(lambda: _waits(url, 0))
    refused = await post(url, user="x" * 9_000)
    assert (refused.status_code, error_of(refused)["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["retry-after"] == "1"
    assert (await post(url, user="small")).status_code == 200
    holder.cancel()
    await asyncio.gather(holder, return_exceptions=True)
    await settled(url)
    assert (await post(url, user="x" * 9_000)).status_code == 200


async def test_halves_of_bodies_count_and_are_given_back_when_their_senders_leave(start: Start) -> None:
    url = start(UnrulyLlm([answer(200, COMPLETION)]), llm_max_body_bytes=10_000, llm_max_bodies_bytes=10_000)
    _, writer = await connect(url)
    writer.write(request_bytes(b"x" * 9_000).replace(b"content-length: 9000", b"content-length: 9999"))
    await writer.drain()

    async def is_refused() -> bool:
        return (await post(url, user="x" * 2_000)).status_code == 429

    await until(is_refused)
    writer.close()
    await writer.wait_closed()
    await settled(url)
    assert (await post(url, user="x" * 2_000)).status_code == 200


async def test_pipelined_requests_are_answered_in_their_order(start: Start) -> None:
    url = start(UnrulyLlm([patient(0.2), answer(200, {**COMPLETION, "id": "second"})]))
    reader, writer = await connect(url)
    writer.write(ask_bytes() + ask_bytes() + request_bytes(b"", "/nowhere"))
    async with asyncio.timeout(30):
        answers = [await read_answer(reader) for _ in range(3)]
    writer.close()
    assert [status for status, _, _ in answers] == [200, 200, 404]
    assert [orjson.loads(body).get("id") for _, _, body in answers] == ["c", "second", None]
