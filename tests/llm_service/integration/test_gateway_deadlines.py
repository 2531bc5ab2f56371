"""Each wait has its own deadline and its own words; and while the first token takes long, the connection lives."""

import asyncio
import contextlib
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import orjson
import pytest

from tests.llm_service.conftest import Start
from tests.llm_service.wire import (
    CHAT,
    COMPLETION,
    HELLO,
    SOON_S,
    error_event_in,
    error_of,
    metrics,
    post,
    quickest,
    sdk,
    settled,
    until,
)
from tests.support.unruly_llm import END, FIRST, UnrulyLlm, answer, hang, stream, when

COMMENT = re.compile(r"^(: [^\n]*\n\n)+")


def slow(seconds: float, then: Any) -> Any:
    """A play that begins after a while."""

    async def play(send: Any) -> None:
        await asyncio.sleep(seconds)
        await then(send)

    return play


@pytest.fixture
def deaf_address() -> Iterator[str]:
    """Where packets are dropped: a listener whose queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("is_stream", [False, True])
async def test_connecting_has_its_own(start: Start, deaf_address: str, is_stream: bool) -> None:
    url = start(None, llm_base_url=deaf_address, llm_model="m", llm_connect_timeout_s=0.2, llm_max_retries=0)
    started = time.monotonic()
    response = await post(url, stream=is_stream)
    assert (response.status_code, error_of(response)["code"]) == (504, "timeout")
    assert "LLM_CONNECT_TIMEOUT_S (0.2 s)" in error_of(response)["message"]
    assert time.monotonic() - started < SOON_S


# What the gateway waits for, the settings, and the only setting that the message names.
BEFORE = [
    pytest.param(hang, False, {"llm_total_timeout_s": 0.3}, "LLM_TOTAL_TIMEOUT_S", id="a whole answer"),
    pytest.param(hang, True, {"llm_first_token_timeout_s": 0.3}, "LLM_FIRST_TOKEN_TIMEOUT_S", id="a stream's headers"),
    pytest.param(
        stream(ending="hangs"), True, {"llm_first_token_timeout_s": 0.3}, "LLM_FIRST_TOKEN_TIMEOUT_S",
        id="a stream's first token",
    ),
    pytest.param(
        stream(*[b": OPENROUTER PROCESSING\n\n", 0.05] * 600, FIRST, END), True, {"llm_first_token_timeout_s": 0.3},
        "LLM_FIRST_TOKEN_TIMEOUT_S", id="a first token behind comments",
    ),
    pytest.param(
        hang, True, {"llm_total_timeout_s": 0.3, "llm_first_token_timeout_s": 60.0}, "LLM_TOTAL_TIMEOUT_S",
        id="a first token for longer than the whole may take",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("play", "is_stream", "settings", "named"), BEFORE)
async def test_before_the_first_byte_it_is_504_in_its_own_words_and_lets_go(
    start: Start, play: Any, is_stream: bool, settings: dict[str, float], named: str
) -> None:
    upstream = UnrulyLlm([play])
    url = start(upstream, **settings)
    started = time.monotonic()
    response = await post(url, stream=is_stream)
    assert time.monotonic() - started < SOON_S
    assert (response.status_code, error_of(response)["code"]) == (504, "timeout")
    assert re.findall("LLM_[A-Z_]+", error_of(response)["message"]) == [named]
    await until(lambda: upstream.active == 0)
    assert upstream.calls <= 1  # its time is over: nothing is tried again; it may be over before it is asked at all
    assert (await metrics(url)).value("llm_requests_total", backend="default", outcome="timeout") == 1


WITHIN = [
    (stream(FIRST, ending="hangs"), {"llm_idle_timeout_s": 0.3}, "LLM_IDLE_TIMEOUT_S"),
    (
        stream(FIRST, *[0.1, FIRST] * 600),
        {"llm_idle_timeout_s": 60.0, "llm_total_timeout_s": 3.0},
        "LLM_TOTAL_TIMEOUT_S",
    ),
]


async def failure_by_the_sdk(url: str) -> str:
    with pytest.raises(openai.APIError) as raised:
        async for _ in await sdk(url).chat.completions.create(model="m", messages=HELLO, stream=True):
            pass
    return raised.value.message


@pytest.mark.parametrize(("play", "settings", "named"), WITHIN)
async def test_within_a_stream_it_is_an_error_event_in_its_own_words_and_no_done(
    start: Start, play: Any, settings: dict[str, float], named: str
) -> None:
    upstream = UnrulyLlm([play])
    url = start(upstream, **settings)
    started = time.monotonic()
    response, by_the_sdk = await asyncio.gather(post(url, stream=True), failure_by_the_sdk(url))
    assert time.monotonic() - started < SOON_S
    assert named in by_the_sdk
    assert response.status_code == 200
    assert response.content.startswith(FIRST)
    error = error_event_in(response.text)
    assert (error["type"], error["code"]) == ("server_error", "timeout")
    assert re.findall("LLM_[A-Z_]+", error["message"]) == [named]
    await until(lambda: upstream.active == 0)
    counted = await settled(url)
    assert counted.value("llm_requests_total", backend="default", model="m", outcome="timeout") == 2


async def test_a_deadline_does_not_count_for_another_wait(start: Start) -> None:
    """A steady stream outlives the idle deadline, a whole answer those of a first token and of connecting."""
    plays = stream(FIRST, *[0.5, FIRST] * 8, END), slow(4.0, answer(200, COMPLETION))
    short: Any = dict.fromkeys(
        ("llm_idle_timeout_s", "llm_first_token_timeout_s", "llm_connect_timeout_s", "llm_body_timeout_s"), 3.0
    )
    streaming, thinking = (start(UnrulyLlm([play]), **short) for play in plays)
    streamed, whole = await asyncio.gather(post(streaming, stream=True), post(thinking))
    assert streamed.content == FIRST * 9 + END
    assert whole.json() == COMPLETION


async def test_the_silence_between_chunks_is_measured_anew_after_each(start: Start) -> None:
    """The deadline is not moved for every token, but no silence is cut by more than a twentieth."""
    pieces = [part for _ in range(40) for part in (FIRST, 0.01)]
    pauses, hangs = stream(*pieces, 0.44, FIRST, END), stream(*pieces, ending="hangs")
    url = start(UnrulyLlm([pauses]), llm_idle_timeout_s=0.5)
    for _ in range(5):  # a machine that stands still makes a pause longer: not five times
        if (whole := await post(url, stream=True)).content.endswith(END):
            break
    assert whole.content.endswith(END)
    url = start(UnrulyLlm([hangs]), llm_idle_timeout_s=0.5)
    started = time.monotonic()
    assert error_event_in((await post(url, stream=True)).text)
    assert 0.4 + 0.475 <= time.monotonic() - started < SOON_S


# --- comments --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def streaming(url: str, **asked: Any) -> AsyncIterator[httpx.Response]:
    async with httpx.AsyncClient() as http:
        body = {"model": "m", "messages": HELLO, "stream": True, **asked}
        async with http.stream("POST", url + CHAT, json=body) as response:
            yield response


async def read_with_comments(response: httpx.Response, at_least: int, may_answer: threading.Event) -> bytes:
    """All of a stream, whose answer begins after so many comments. Without comments it never does."""
    told = b""
    async with asyncio.timeout(SOON_S):
        async for chunk in response.aiter_raw():
            told += chunk
            if told.count(b"\n\n") >= at_least:
                may_answer.set()
    return told


@pytest.mark.parametrize(
    "until_then",
    [
        pytest.param(lambda event: when(event, stream(FIRST, END)), id="before the upstream's headers"),
        pytest.param(lambda event: stream(event, FIRST, END), id="after them, as vLLM sends them at once"),
        pytest.param(lambda event: stream(b": ping\n\n", event, FIRST, END), id="after a comment of its own"),
    ],
)
async def test_comments_keep_a_stream_alive_until_its_first_token(start: Start, until_then: Any) -> None:
    may_answer = threading.Event()
    url = start(UnrulyLlm([until_then(may_answer)]), llm_keepalive_s=0.1)
    started = time.monotonic()
    async with streaming(url, n=50) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["x-cut-to-limit"] == "n"
        text = await read_with_comments(response, 4, may_answer)
    comments, rest = text[: -len(FIRST + END)], text[-len(FIRST + END) :]
    assert rest == FIRST + END
    assert COMMENT.fullmatch(comments.decode())
    assert 4 <= comments.count(b"\n\n") <= 2 + (time.monotonic() - started) / 0.1  # the upstream's own may be one


async def test_a_quick_answer_and_a_whole_one_have_no_comments(start: Start) -> None:
    url = start(UnrulyLlm([stream(FIRST, 0.3, END)]), llm_keepalive_s=0.1)
    for _ in range(5):  # on a machine that stands still no answer is quick
        if (quick := (await post(url, stream=True)).content) == FIRST + END:
            break
    assert quick == FIRST + END
    url = start(UnrulyLlm([slow(0.3, answer(200, COMPLETION))]), llm_keepalive_s=0.1)
    assert (await post(url)).json() == COMPLETION


async def test_the_sdk_reads_a_stream_with_comments(start: Start) -> None:
    url = start(UnrulyLlm([slow(0.3, stream(FIRST, END))]), llm_keepalive_s=0.05)
    chunks = await sdk(url).chat.completions.create(model="m", messages=HELLO, stream=True)
    assert [chunk.choices[0].delta.content async for chunk in chunks] == ["a", "a"]


@pytest.mark.parametrize(
    ("play", "kind", "code", "words"),
    [
        (answer(400, {"error": {"message": "no", "code": 400}}), "invalid_request_error", None, "no"),
        (answer(429, {"error": {"message": "busy"}}), "rate_limit_error", "rate_limit_exceeded", "busy"),
        (answer(500, {"error": {"message": "broken"}}), "server_error", "upstream", "broken"),
        (answer(401, {"error": "Unauthorized"}), "server_error", "upstream", "LLM_UPSTREAM_API_KEY"),
        (answer(200, COMPLETION), "server_error", "upstream", "one JSON body"),
        (hang, "server_error", "timeout", "LLM_FIRST_TOKEN_TIMEOUT_S"),
    ],
)
async def test_a_failure_after_a_comment_is_an_error_event(
    start: Start, play: Any, kind: str, code: str | None, words: str
) -> None:
    may_answer = threading.Event()
    upstream = UnrulyLlm([when(may_answer, play)])
    url = start(
        upstream, llm_keepalive_s=0.05, llm_max_retries=0, llm_first_token_timeout_s=0.6 if play is hang else 60
    )
    async with streaming(url) as response:
        assert response.status_code == 200
        text = (await read_with_comments(response, 1, may_answer)).decode()
    assert COMMENT.match(text)
    error = error_event_in(text)
    assert (error["type"], error["code"]) == (kind, code)
    assert words in error["message"]
    await until(lambda: upstream.active == 0)
    may_answer.clear()
    asking = asyncio.create_task(failure_by_the_sdk(url))
    await asyncio.sleep(0.3)  # of which it hears some comments
    may_answer.set()
    assert words in await asking


async def test_another_attempt_may_follow_a_comment(start: Start) -> None:
    """Nothing of an answer has gone out yet."""
    may_answer = threading.Event()
    upstream = UnrulyLlm([when(may_answer, answer(503, {})), slow(0.2, answer(500, {})), stream(FIRST, END)])
    async with streaming(start(upstream, llm_keepalive_s=0.05)) as response:
        text = await read_with_comments(response, 1, may_answer)
    assert text.endswith(b"\n\n" + FIRST + END)
    assert COMMENT.match(text.decode())
    assert upstream.calls == 3


async def test_who_leaves_between_comments_is_noticed(start: Start) -> None:
    upstream = UnrulyLlm([hang])
    url = start(upstream, llm_keepalive_s=0.05)

    async def noticed_s() -> float:
        async with streaming(url) as response:
            await anext(response.aiter_raw())
        return await until(lambda: upstream.active == 0)

    assert await quickest(noticed_s, 0.5) < 0.5
    counted = await settled(url)
    assert counted.value("llm_requests_total", outcome="client_left") == upstream.calls
    assert counted.value("llm_requests_in_work") == 0


async def test_waiting_at_the_door_is_no_part_of_the_deadlines(start: Start) -> None:
    """They begin when a place is free: whoever waited for it has not had a backend's time yet."""
    upstream = UnrulyLlm([slow(0.5, answer(200, COMPLETION))])
    url = start(upstream, llm_max_concurrent_requests=1, llm_total_timeout_s=3.0, llm_queue_timeout_s=60)
    answers = await asyncio.gather(*(post(url) for _ in range(8)))  # the last one waits for 3.5 s
    assert [orjson.loads(got.content).get("id") for got in answers] == ["c"] * 8
