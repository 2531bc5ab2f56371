"""A language model whose stream never ends well, and that knows whether its caller stayed."""

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class DrippingLlm:
    """Says a piece every 50 ms for ever, breaks off after the first, or says nothing at all."""

    def __init__(self, *, breaks_off: bool = False, is_silent: bool = False) -> None:
        self.breaks_off = breaks_off
        self.is_silent = is_silent
        self.came = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.came.set()
        try:
            await StreamingResponse(self.events(), media_type="text/event-stream")(scope, receive, send)
        finally:
            self.left.set()

    async def events(self) -> AsyncIterator[bytes]:
        while True:
            if not self.is_silent:
                yield b'data: {"id":"1","object":"chat.completion.chunk","created":0,"model":"m","choices":'
                yield b'[{"index":0,"delta":{"role":"assistant","content":"drip "},"finish_reason":null}]}\n\n'
            await asyncio.sleep(0.05)
            if self.breaks_off:
                raise ConnectionError("the model died")
