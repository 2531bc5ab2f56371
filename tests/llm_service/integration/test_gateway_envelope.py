"""What the gateway and its HTTP parser refuse themselves is told in OpenAI's envelope, like a fault of ours."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.llm_service.conftest import Start
from tests.llm_service.processes import Gateway, gateway
from tests.llm_service.wire import (
    CHAT,
    COMPLETION,
    HELLO,
    ask_bytes,
    connect,
    envelope_in,
    error_of,
    metrics,
    post,
    raw,
    raw_answer,
    read_answer,
    request_bytes,
    until,
)
from tests.support.unruly_llm import UnrulyLlm, answer, hang

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
    async with asyncio.timeout(60):
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
    async with asyncio.timeout(20):
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


# --- the gateway's own state -----------------------------------------------------------------------------------------


async def test_nothing_configured_no_backend_there_and_no_place_are_envelopes(start: Start) -> None:
    response = await post(start(None))
    assert (response.status_code, error_of(response)["code"]) == (503, "model_not_configured")
    url = start(UnrulyLlm([hang]), llm_max_concurrent_requests=1, llm_max_queued_requests=0)
    first = asyncio.create_task(post(url))

    async def is_in_work() -> bool:
        return (await metrics(url)).value("llm_requests_in_work") == 1

    await until(is_in_work)
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
