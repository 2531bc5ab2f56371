"""Sends a reply while it watches whether the client is still there: before the first token, in the stream, always."""

import asyncio
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

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

    def __init__(self, service: ChatService, request: ChatRequest):
        """Asks nothing before it is called."""
        super().__init__()
        self._service = service
        self._request = request

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
        else:
            work.result()

    async def _serve(self, send: Send) -> None:
        async with self._service.answer(self._request) as reply:
            await send(_start(reply))
            async for chunk in reply.chunks:
                if chunk:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def _start(reply: Reply) -> Message:
    headers: Any = _EVENT_HEADERS if reply.is_stream else [(b"content-type", b"application/json")]
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}


async def _client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
