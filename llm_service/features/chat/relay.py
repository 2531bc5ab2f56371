"""Sends a reply while it watches whether the client is still there: before the first token, in the stream, always."""

import asyncio
from contextlib import suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from llm_service.core.errors import ClientLeft
from llm_service.features.chat.schemas import ChatRequest
from llm_service.features.chat.service import ChatService, Reply

# nginx's word for a client that closed its connection: nobody reads it but the access log and the metrics.
CLIENT_LEFT = 499

_EVENT_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # or nginx collects the tokens
]


class Relay(Response):
    """An answer that is fetched while it is sent. Failures before the first byte are raised, for the app to render."""

    def __init__(self, service: ChatService, request: ChatRequest, *, stall_s: float):
        """Asks nothing before it is called. stall_s: a client that reads nothing for so long is let go."""
        super().__init__()
        self._service = service
        self._request = request
        self._stall_s = stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, until the end or until the client leaves: then the work is cancelled, and with it the upstream's."""
        work = asyncio.create_task(self._serve(send))
        watch = asyncio.create_task(_client_leaves(receive))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            has_left = not work.done()
            work.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)
        if has_left:
            # Goes nowhere; the layers above learn how it ended.
            await send({"type": "http.response.start", "status": CLIENT_LEFT, "headers": []})
            return
        # A stalled client's connection is closed by the server, because its answer is left unfinished.
        with suppress(ClientLeft):
            work.result()

    async def _serve(self, send: Send) -> None:
        async with self._service.answer(self._request) as reply:
            await send(_start(reply))
            async for chunk in reply.chunks:
                if chunk:
                    await self._send_chunk(send, chunk)
            await send({"type": "http.response.body", "body": b""})

    async def _send_chunk(self, send: Send, chunk: bytes) -> None:
        try:
            # Returns at once while the client keeps up, and waits while its buffers are full.
            async with asyncio.timeout(self._stall_s):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError as exc:
            raise ClientLeft(f"the client read nothing for {self._stall_s:g} s") from exc


def _start(reply: Reply) -> Message:
    headers: Any = _EVENT_HEADERS if reply.is_stream else [(b"content-type", b"application/json")]
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}


async def _client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
