"""Callers of the gateway: the openai SDK, httpx, bare sockets; and upstreams that note what reached them."""

import asyncio
import math
import re
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HELLO = [{"role": "user", "content": "hello"}]
CHAT = "/v1/chat/completions"
COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
}


# An upper bound of what a deadline of a fraction of a second ends: every other deadline of the gateway that could have
# ended it, and every hang of an upstream here, is 30 s or more.
SOON_S = 20

# httpx makes one for each client, which takes 20 ms, and nothing here is by TLS.
_TLS = ssl.create_default_context()


class Noting:
    """An upstream, and what reached it. bodies, headers: of each POST, as it came."""

    def __init__(self, inner: ASGIApp):
        self._inner = inner
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.heads: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        body = bytearray()
        self.heads.append(repr(scope["headers"]) + scope["path"] + repr(scope["query_string"]))
        if scope["method"] == "POST":
            self.headers.append({key.decode(): value.decode() for key, value in scope["headers"]})

        async def noted() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            if message["type"] == "http.request" and not message.get("more_body"):
                self.bodies.append(bytes(body))
            return message

        await self._inner(scope, noted if scope["method"] == "POST" else receive, send)


_OPEN: list[AsyncOpenAI] = []


def sdk(url: str, key: str = "k") -> AsyncOpenAI:
    """OpenAI's client, closed at the end of the test.

    One that is not closes itself when it is collected: in another test's loop, which then says "Event loop is closed".
    """
    http = DefaultAsyncHttpxClient(verify=_TLS)
    _OPEN.append(AsyncOpenAI(base_url=url + "/v1", api_key=key, max_retries=0, http_client=http))
    return _OPEN[-1]


async def close_sdks() -> None:
    while _OPEN:
        await _OPEN.pop().close()


async def ask(url: str, **options: Any) -> Any:
    return await sdk(url).chat.completions.create(model="m", messages=HELLO, **options)


async def post(url: str, path: str = CHAT, *, key: str | None = None, **body: Any) -> httpx.Response:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(timeout=60, verify=_TLS) as http:
        return await http.post(url + path, json={"model": "m", "messages": HELLO, **body}, headers=headers)


async def get(url: str, path: str, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(timeout=60, verify=_TLS) as http:
        return await http.get(url + path, headers=headers)


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error, in OpenAI's envelope and nothing else."""
    assert response.headers["content-type"] == "application/json"
    return envelope_in(response.content)


def envelope_in(payload: bytes) -> dict[str, Any]:
    body = orjson.loads(payload)
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert re.fullmatch("[a-z_]+", error["type"])
    assert isinstance(error["param"], str | None)
    assert isinstance(error["code"], str | None)
    return error


def error_event_in(text: str) -> dict[str, Any]:
    """The error that ends a stream: its last event, with no [DONE] before or after it."""
    assert "[DONE]" not in text
    *_, last, rest = text.split("\n\n")
    assert rest == ""
    return envelope_in(last.removeprefix("data: ").encode())


def request_bytes(body: bytes, path: str = CHAT, *, method: str = "POST", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def ask_bytes(**body: Any) -> bytes:
    return request_bytes(orjson.dumps({"model": "m", "messages": HELLO, **body}), content_type="application/json")


# Sent without its end; a request like it that is whole takes a place at the door.
HALF = ask_bytes()[:-10]


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    at = httpx.URL(url)
    return await asyncio.open_connection(at.host, at.port)


async def raw(url: str, sent: bytes, within_s: float = 60) -> bytes:
    """Everything that comes back for some bytes, until the other end closes; b"" where it hangs up at once."""
    reader, writer = await connect(url)
    async with asyncio.timeout(within_s):
        try:
            writer.write(sent)
            await writer.drain()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def raw_answer(url: str, sent: bytes, within_s: float = 60) -> tuple[int, bytes, bytes]:
    """(status, head, body) of the first answer with a content-length; the connection is closed after it."""
    reader, writer = await connect(url)
    async with asyncio.timeout(within_s):
        try:
            writer.write(sent)
            await writer.drain()
            return await read_answer(reader)
        finally:
            writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    body = await reader.readexactly(int(length[1])) if length else b""
    return int(head.split(b" ", 2)[1]), head, body


async def until(is_so: Callable[[], Any], within_s: float = 30, what: str = "it") -> float:
    """Seconds until `is_so()`, which may be a coroutine; fails where it takes longer than within_s.

    within_s: no promise of the product but the end of a test that would wait for ever; long, since machines stand still
    for seconds, and free, since what comes about is not waited for. A promise in seconds is measured by `quickest`.
    """
    started = time.monotonic()
    while True:
        found = is_so()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return time.monotonic() - started
        assert time.monotonic() - started < within_s, f"{what} did not come about in {within_s} s"
        await asyncio.sleep(0.01)


async def quickest(once: Callable[[], Awaitable[float]], enough_s: float, tries: int = 5) -> float:
    """Of several tries the shortest time in seconds; none is made after one that took less than enough_s.

    once: may as well measure something else that is good where it is small.

    The promise "within half a second" is ours, each stall of a shared machine is not: it lengthens a try or two, and a
    defect all of them.
    """
    best_s = math.inf
    for _ in range(tries):
        best_s = min(best_s, await once())
        if best_s < enough_s:
            break
    return best_s


class Metrics:
    """One scrape."""

    def __init__(self, text: str):
        self.text = text

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name whose labels include these."""
        total = 0.0
        for line in self.text.splitlines():
            found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if found and labels.items() <= dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[1] or "")).items():
                total += float(found[2])
        return total

    def labels(self, name: str, label: str) -> set[str]:
        lines = [line for line in self.text.splitlines() if line.startswith(name + "{")]
        return {found[1] for line in lines if (found := re.search(rf'[{{,]{label}="((?:[^"\\]|\\.)*)"', line))}


async def metrics(url: str) -> Metrics:
    return Metrics((await get(url, "/metrics")).text)


async def settled(url: str) -> Metrics:
    """The metrics once nothing is in work but the scrape itself."""
    seen: list[Metrics] = []

    async def is_quiet() -> bool:
        seen.append(await metrics(url))
        return seen[-1].value("http_requests_in_flight") == 1.0

    await until(is_quiet, what="quiet")
    return seen[-1]
