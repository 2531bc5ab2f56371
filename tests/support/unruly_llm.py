"""Upstreams that misbehave as real ones do: they hang, die, dawdle, or answer in envelopes of their own."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

Play = Callable[[Send], Awaitable[None]]

# Longer than any test waits for what must not take so long: a hang that ends by itself would look like a departure.
FOREVER_S = 600

FIRST = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":0,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
)
END = FIRST.replace(b'"finish_reason":null', b'"finish_reason":"stop"') + b"data: [DONE]\n\n"


@dataclass
class UnrulyLlm:
    """`plays` are acted in turn, the last one for ever. `active` counts requests whose connection is still open."""

    plays: list[Play]
    models: list[str] = field(default_factory=lambda: ["m"])
    active: int = 0
    calls: int = 0
    paths: list[str] = field(default_factory=list)
    sent_bytes: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.paths.append(scope["path"])
        if scope["method"] == "GET":
            await answer(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})(
                send
            )
            return
        while (await receive()).get("more_body"):
            pass
        self.calls += 1
        self.active += 1
        play = self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]
        try:
            await self._until_gone(play, receive, send)
        finally:
            self.active -= 1

    async def _until_gone(self, play: Play, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            await send(message)
            self.sent_bytes += len(message.get("body", b""))

        acting = asyncio.ensure_future(play(counted))
        gone = asyncio.ensure_future(receive())
        await asyncio.wait({acting, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not acting.done():
            acting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await acting


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> Play:
    """A whole answer; `body` is sent as JSON, or as it is where it is bytes."""

    async def play(send: Send) -> None:
        kind = "text/html" if isinstance(body, bytes) else "application/json"
        pairs = [(key.encode(), value.encode()) for key, value in {"content-type": kind, **(headers or {})}.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body if isinstance(body, bytes) else orjson.dumps(body)})

    return play


def when(event: threading.Event, then: Play) -> Play:
    """A play that begins when a test says so."""

    async def play(send: Send) -> None:
        await _is_set(event)
        await then(send)

    return play


async def _is_set(event: threading.Event) -> None:
    while not event.is_set():  # noqa: ASYNC110  # by the test, whose loop is another thread's
        await asyncio.sleep(0.005)


def stream(*pieces: bytes | float | threading.Event, ending: str = "clean") -> Play:
    """Server-sent events; a number is a pause in seconds, an event one that a test ends.

    ending: "clean", "dies" or "hangs".
    """

    async def play(send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in pieces:
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            elif isinstance(piece, threading.Event):
                await _is_set(piece)
            else:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0.02)  # let the pieces reach the reader before the end does
        if ending == "dies":
            raise ConnectionAbortedError("the model's process was killed")
        if ending == "hangs":
            await asyncio.sleep(FOREVER_S)
        await send({"type": "http.response.body", "body": b""})

    return play


async def hang(send: Send) -> None:
    """Take the request and never answer."""
    await asyncio.sleep(FOREVER_S)


async def die(send: Send) -> None:
    """Close the connection without an answer."""
    raise ConnectionAbortedError("the model's process was killed")


async def flood(send: Send) -> None:
    """Events for ever, as fast as they are taken."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    piece = FIRST * 400
    while True:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)
