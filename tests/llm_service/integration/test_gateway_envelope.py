"""Every error is OpenAI's envelope, whoever makes it: the gateway, a backend, the HTTP parser; and its SDK reads it."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest

from llm_service.core.settings import LlmSettings
from llm_service.main import create_app
from tests.llm_service.conftest import Start
from tests.llm_service.processes import Gateway, gateway
from tests.llm_service.wire import (
    CHAT,
    COMPLETION,
    HELLO,
    ask_bytes,
    connect,
    envelope_in,
    error_event_in,
    error_of,
    get,
    metrics,
    post,
    raw,
    raw_answer,
    read_answer,
    request_bytes,
    sdk,
    until,
)
from tests.support.live import live
from tests.support.unruly_llm import END, FIRST, UnrulyLlm, answer, die, hang, stream

BODY = orjson.dumps({"model": "scripted", "messages": HELLO})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway as a process, with its own HTTP parser's settings."""
    with gateway(tmp_path_factory.mktemp("envelope"), llm_provider="scripted", llm_body_timeout_s=0.5) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "unknown_url"),
        ("POST", "/v1/nowhere", 404, "unknown_url"),
        ("POST", "/v1/tokenize", 404, "unknown_url"),
        ("POST", "//v1/chat/completions", 404, "unknown_url"),
        ("GET", "/v1/%ff%00", 404, "unknown_url"),
        ("GET", "/v1/models/gpt-9", 404, "model_not_found"),
        ("GET", CHAT, 405, None),
        ("PUT", CHAT, 405, None),
        ("DELETE", "/v1/models", 405, None),
        ("OPTIONS", CHAT, 405, None),
        ("TRACE", "/tokenize", 405, None),
        ("POST", "/metrics", 405, None),
        ("GET", "/docs/nowhere.js", 404, "unknown_url"),
    ],
)
def test_a_wrong_route_or_method(served: Gateway, method: str, path: str, status: int, code: str | None) -> None:
    response = httpx.request(method, served.url + path)
    assert (response.status_code, error_of(response)["code"]) == (status, code)
    assert error_of(response)["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/v1/models", CHAT, "/nowhere"])
def test_head_has_the_status_and_no_body(served: Gateway, path: str) -> None:
    response = httpx.head(served.url + path)
    assert (response.status_code, response.content) == (404 if path == "/nowhere" else 405, b"")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"messages": [', b"[]", b"7", b"null", b'"x"', b"\xff\xfe{}", b'{"messages": [{"role": "\xc3"}]}',
     b'{"messages": [{"content": "\\ud800"}]}', b"{'messages': []}", b'{"messages": NaN}', b"[" * 100_000,
     b'{"messages": [{}], "model": {}}', b'{"messages": {}}', b'{"messages": null}', b'{"messages": [], "stream": 1}',
     b'\xef\xbb\xbf{"messages": [{}]}', b'{"messages": [{}]}{}'],
)  # fmt: skip
def test_a_body_that_is_no_request(served: Gateway, content: bytes) -> None:
    response = httpx.post(served.url + CHAT, content=content)
    assert response.status_code == 400
    assert error_of(response)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"FLY /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: a\x00b\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /tokenize HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /tokenize HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n",
    ],
)
async def test_what_is_no_http(served: Gateway, sent: bytes) -> None:
    head, _, body = (await raw(served.url, sent)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/json" in head
    assert envelope_in(body)["type"] == "invalid_request_error"


async def test_a_head_over_64_kb_is_431(served: Gateway) -> None:
    reader, writer = await connect(served.url)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n")
    async with asyncio.timeout(10):
        for _ in range(9):  # so slowly that no answer is lost in what is still being sent
            writer.write(b"x-long: " + b"a" * 8_000 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)
        status, _, body = await read_answer(reader)
        assert await reader.read() == b""
    writer.close()
    assert (status, envelope_in(body)["code"]) == (431, "request_too_large")


async def test_a_slow_body_is_408_and_its_connection_is_closed(served: Gateway) -> None:
    reader, writer = await connect(served.url)
    writer.write(request_bytes(b"{").replace(b"content-length: 1", b"content-length: 100"))
    async with asyncio.timeout(5):
        status, _, body = await read_answer(reader)
        assert await reader.read() == b""
    writer.close()
    assert status == 408
    assert "LLM_BODY_TIMEOUT_S" in envelope_in(body)["message"]


def test_a_body_over_the_limit_is_read_by_a_client_that_sends_all_of_it_first(served: Gateway) -> None:
    """As httpx and with it the SDK does."""
    response = httpx.post(served.url + CHAT, content=b"x" * 12_000_000)
    assert (response.status_code, error_of(response)["code"]) == (413, "request_too_large")


def test_a_page_of_another_site(served: Gateway) -> None:
    response = httpx.post(served.url + CHAT, content=BODY, headers={"origin": "https://example.org"})
    assert (response.status_code, error_of(response)["code"]) == (403, "forbidden")


# The JDK's client asks for HTTP/2 with its first request: found here, its body was lost, and the answer a 400.
@pytest.mark.parametrize("name", ["upgrade", "Upgrade", "UPGRADE"])
async def test_who_asks_for_another_protocol_is_served_in_this_one(served: Gateway, name: str) -> None:
    for kind in ("h2c", "websocket"):
        sent = request_bytes(BODY, connection="Upgrade, HTTP2-Settings", http2_settings="AAMAAABkAAQAAP__")
        sent = sent.replace(b"\r\n\r\n", f"\r\n{name}: {kind}\r\n\r\n".encode(), 1)
        status, _, body = await raw_answer(served.url, sent)
        assert (status, orjson.loads(body)["object"]) == (200, "chat.completion")
    assert "pgrade" not in served.log


async def test_a_web_socket_is_no_route(served: Gateway) -> None:
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    sent = request_bytes(b"", "/ws", method="GET", connection="upgrade", upgrade="websocket", sec_websocket_key=key)
    status, _, body = await raw_answer(served.url, sent)
    assert (status, envelope_in(body)["code"]) == (404, "unknown_url")


# --- what backends say -----------------------------------------------------------------------------------------------


def vllm(message: str, kind: str, param: str | None, code: int) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


TOO_LONG = "This model's maximum context length is 512 tokens. However, your prompt contains at least 513 input tokens."
INVALID = "1 validation error:\n  {'type': 'list_type', 'loc': 'body.messages', 'input': 'hello'}"
BAD = openai.BadRequestError

# vLLM 0.32's own bodies; what the SDK raises; OpenAI's param and code.
REFUSALS = [
    (404, vllm("The model `gpt-9` does not exist.", "NotFoundError", "model", 404),
     openai.NotFoundError, "model", "model_not_found"),
    (400, vllm(TOO_LONG, "BadRequestError", "input_tokens", 400), BAD, "messages", "context_length_exceeded"),
    (400, vllm("max_tokens=100000 cannot be greater than max_model_len=512.", "BadRequestError", "max_tokens", 400),
     BAD, "max_tokens", None),
    (400, vllm(INVALID, "Bad Request", "body.messages", 400), BAD, "messages", None),
    (400, vllm("1 validation error:\n  {'loc': 'body'}", "Bad Request", "body", 400), BAD, "body", None),
    (400, vllm("n must be at least 1, got 0.", "BadRequestError", None, 400), BAD, None, None),
    (400, {"detail": "There was an error parsing the body"}, BAD, None, None),
    (422, {"detail": [{"loc": ["body", "n"], "msg": "wrong"}]}, openai.UnprocessableEntityError, None, None),
    (409, {"error": {"message": "later", "type": "invalid_request_error"}}, openai.ConflictError, None, None),
    (413, b"<h1>413 Request Entity Too Large</h1>", openai.APIStatusError, None, "request_too_large"),
    (400, {"error": {"message": "no", "type": 7, "param": [1], "code": True}}, BAD, None, None),
    (400, {"error": {"message": None, "code": {}}}, BAD, None, None),
    (400, {"error": None}, BAD, None, None),
    (400, b"", BAD, None, None),
    (400, b"\xff\xfe", BAD, None, None),
    (400, [1], BAD, None, None),
    (418, {"error": "teapot"}, openai.APIStatusError, None, None),
    (402, {"error": {"message": "pay", "code": "no_credit"}}, openai.APIStatusError, None, "no_credit"),
]  # fmt: skip


@pytest.fixture(scope="module")
def mirror() -> Iterator[tuple[str, UnrulyLlm]]:
    """A gateway, and a backend that does what a test tells it to."""
    upstream = UnrulyLlm([hang])
    with ExitStack() as stack:
        address = stack.enter_context(live(upstream))
        settings = LlmSettings(_env_file=None, llm_base_url=address + "/v1")
        yield stack.enter_context(live(create_app(settings))), upstream


@pytest.mark.parametrize(("status", "body", "raised", "param", "code"), REFUSALS)
async def test_a_backends_refusal_is_told_as_openai_would(
    mirror: tuple[str, UnrulyLlm],
    status: int,
    body: Any,
    raised: type[openai.APIStatusError],
    param: str | None,
    code: str | None,
) -> None:
    url, upstream = mirror
    upstream.plays = [answer(status, body)]
    for is_stream in (False, True):
        with pytest.raises(raised) as caught:
            await sdk(url).chat.completions.create(model="m", messages=HELLO, stream=is_stream)
        assert caught.value.status_code == status
        error = error_of(caught.value.response)
        assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
        assert (caught.value.code, caught.value.param) == (code, param)


@pytest.mark.parametrize(
    ("play", "status", "raised", "kind"),
    [
        (answer(401, {"error": "Unauthorized"}), 502, openai.InternalServerError, "server_error"),
        (answer(403, {"detail": "Forbidden"}), 502, openai.InternalServerError, "server_error"),
        (answer(404, {"detail": "Not Found"}), 502, openai.InternalServerError, "server_error"),
        (answer(408, {"detail": "slow"}), 504, openai.InternalServerError, "server_error"),
        (answer(429, {"detail": "busy"}), 429, openai.RateLimitError, "rate_limit_error"),
        (answer(500, vllm("EngineCore encountered an issue.", "InternalServerError", None, 500)), 502,
         openai.InternalServerError, "server_error"),
        (answer(503, b"<h1>503</h1>"), 503, openai.InternalServerError, "server_error"),
        (answer(599, b""), 502, openai.InternalServerError, "server_error"),
        (answer(302, b"", {"location": "http://example.org"}), 502, openai.InternalServerError, "server_error"),
        (answer(204, b""), 502, openai.InternalServerError, "server_error"),
        (answer(200, b"<h1>hello</h1>"), 502, openai.InternalServerError, "server_error"),
        (answer(200, b""), 502, openai.InternalServerError, "server_error"),
        (die, 502, openai.InternalServerError, "server_error"),
    ],
)  # fmt: skip
async def test_a_backends_fault_is_the_operators(
    start: Start, play: Any, status: int, raised: type[openai.APIStatusError], kind: str
) -> None:
    upstream = UnrulyLlm([play])
    url = start(upstream, llm_max_retries=0)
    for is_stream in (False, True):
        with pytest.raises(raised) as caught:
            await sdk(url).chat.completions.create(model="m", messages=HELLO, stream=is_stream)
        assert (caught.value.status_code, error_of(caught.value.response)["type"]) == (status, kind)


# Found here: many digits, and a date of no zone, made a 500; fractions were not read.
@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("7", "7"),
        ("1.5", "2"),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "1"),
        ("soon", None),
        ("-5", None),
        ("9" * 400, "86400"),
        ("\u00b2", None),
        ("Wed, 21 Oct 2099 07:28:00 -0000", "86400"),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
async def test_when_to_come_again_is_passed_on_where_it_makes_sense(
    start: Start, header: str, told: str | None
) -> None:
    async def busy(send: Any) -> None:
        headers = [(b"retry-after", header.encode("latin-1"))]
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    response = await post(start(UnrulyLlm([busy]), llm_max_retries=0))
    assert (response.status_code, error_of(response)["code"]) == (429, "rate_limit_exceeded")
    assert response.headers.get("retry-after") == told


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\xff" * 100,
        b"HTTP/1.1 999 \r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n{}",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000,
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: \xff;;;\r\ncontent-length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 500 \xe4\r\ncontent-type: text/plain; charset=klingon\r\ncontent-length: 1\r\n\r\n\xe4",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
async def test_a_backend_that_speaks_no_http_is_the_operators_fault(start: Start, said: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        url = start(None, llm_base_url=address, llm_model="m", llm_max_retries=0, llm_total_timeout_s=5.0)
        for is_stream in (False, True):
            response = await post(url, stream=is_stream)
            assert response.status_code in {502, 503}
            assert error_of(response)["type"] == "server_error"
        assert (await get(url, "/readyz")).status_code in {200, 503}
        listed = await get(url, "/v1/models")
        assert error_of(listed)["type"] == "server_error"


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


async def test_nothing_configured_no_backend_there_and_no_place_are_envelopes(start: Start) -> None:
    response = await post(start(None))
    assert (response.status_code, error_of(response)["code"]) == (503, "model_not_configured")
    url = start(UnrulyLlm([hang]), llm_max_concurrent_requests=1, llm_max_queued_requests=0)
    first = asyncio.create_task(post(url))

    async def is_in_work() -> bool:
        return (await metrics(url)).value("llm_requests_in_work") == 1

    await until(is_in_work, 5)
    refused = await post(url)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert (refused.status_code, error_of(refused)["type"]) == (429, "rate_limit_error")


async def test_our_own_bug_is_an_envelope_with_the_request_id(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("secret thought")

    url = start(UnrulyLlm([answer(200, COMPLETION)]))
    monkeypatch.setattr("llm_service.features.chat.router.parse_request", broken)
    response = await post(url)
    assert (response.status_code, error_of(response)["type"]) == (500, "server_error")
    assert response.headers["x-request-id"] in error_of(response)["message"]
    assert "secret" not in response.text


async def test_a_refused_key_and_all_the_rest_are_told_as_one_line_of_bytes(served: Gateway, tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text("")
    with gateway(tmp_path, llm_provider="scripted", llm_keys_file=tmp_path / "keys.toml") as closed:
        for sent in (request_bytes(BODY), request_bytes(BODY, "/tokenize"), ask_bytes(stream=True)):
            status, head, body = await raw_answer(closed.url, sent)
            assert (status, envelope_in(body)["code"]) == (401, "invalid_api_key")
            assert b"content-type: application/json" in head
