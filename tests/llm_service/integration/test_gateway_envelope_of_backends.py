"""Whatever a backend says, or says instead of HTTP, reaches a client as OpenAI's envelope, and its SDK reads it."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest

from llm_service.core.settings import LlmSettings
from llm_service.main import create_app
from tests.llm_service.conftest import Start
from tests.llm_service.wire import HELLO, error_of, get, post, sdk
from tests.support.live import live
from tests.support.unruly_llm import UnrulyLlm, answer, die, hang


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
        url = start(None, llm_base_url=address, llm_model="m", llm_max_retries=0, llm_total_timeout_s=20.0)
        for is_stream in (False, True):
            response = await post(url, stream=is_stream)
            assert response.status_code in {502, 503}
            assert error_of(response)["type"] == "server_error"
        assert (await get(url, "/readyz")).status_code in {200, 503}
        listed = await get(url, "/v1/models")
        assert error_of(listed)["type"] == "server_error"
