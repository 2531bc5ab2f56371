"""The caller's side of one request, in bare ASGI: reads the body, notices when he leaves, sends what there is to send.

Starlette's own Request and StreamingResponse do not notice a client that leaves before the first token, and cost more
than the rest of the gateway together.
"""

import asyncio
from types import TracebackType

from starlette.types import Message, Receive, Send

from llm_service.admission.door import Holding
from llm_service.core.errors import ClientLeft, SlowRequest

_JSON = (b"content-type", b"application/json")
_EVENT_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # or nginx collects the tokens
)

# What is smaller goes into the connection's buffer at once, however slowly the client reads (uvicorn's own limit).
_FITS_BYTES = 60_000

# A comment, which every reader of server-sent events passes over.
KEEPALIVE = b": waiting for the first token\n\n"


class Caller:
    """Within `async with caller:` his leaving cancels what is being done, and the block fails with ClientLeft."""

    __slots__ = (
        "_extra",
        "_has_left",
        "_keepalive",
        "_receive",
        "_send",
        "_task",
        "_timer",
        "_watch",
        "has_begun",
        "is_sending",
    )

    def __init__(self, receive: Receive, send: Send):
        """receive, send: ASGI's."""
        self._receive = receive
        self._send = send
        self._extra: tuple[tuple[bytes, bytes], ...] = ()
        self._has_left = False
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._keepalive: asyncio.Task[None] | None = None
        self.has_begun = False
        self.is_sending = False

    async def body(self, holding: Holding, timeout_s: float) -> bytes:
        """The request's body; `holding` accounts for its bytes.

        Fails with SlowRequest, ClientLeft, TooLarge (from the layer above) and Overloaded (from `holding`).
        """
        try:
            async with asyncio.timeout(timeout_s):
                message = await self._next(holding)
                body: bytes = message.get("body", b"")
                if not message.get("more_body"):
                    return body
                parts = [body]
                while message.get("more_body"):
                    message = await self._next(holding)
                    parts.append(message.get("body", b""))
                return b"".join(parts)
        except TimeoutError as exc:
            raise SlowRequest(f"the request took over {timeout_s:g} s to arrive (LLM_BODY_TIMEOUT_S)") from exc

    async def _next(self, holding: Holding) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft("the client left before its request was whole")
        holding.add(len(message.get("body", b"")))
        return message

    async def __aenter__(self) -> "Caller":
        self._task = asyncio.current_task()
        self._watch = asyncio.create_task(self._wait_for_leaving())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_watching()
        await self.stop_keepalive()
        if self._has_left and kind is asyncio.CancelledError and self._task is not None and self._task.uncancel() == 0:
            raise ClientLeft("the client left") from error

    async def _wait_for_leaving(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._has_left = True
        if self._task is not None:
            self._task.cancel()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def tell(self, name: bytes, value: bytes) -> None:
        """Add a header to the answer."""
        self._extra = (*self._extra, (name, value))

    def keep_alive(self, every_s: float) -> None:
        """From now on a comment goes out every so often, the first after `every_s`; with it the stream has begun."""
        self._timer = asyncio.get_running_loop().call_later(every_s, self._start_keepalive, every_s)

    def _start_keepalive(self, every_s: float) -> None:
        self._keepalive = asyncio.create_task(self._send_comments(every_s))

    async def _send_comments(self, every_s: float) -> None:
        while True:
            await self.pass_on(KEEPALIVE)
            await asyncio.sleep(every_s)

    async def stop_keepalive(self) -> None:
        """No more comments: something better follows. An event is never sent into the middle of one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._keepalive is not None:
            self._keepalive.cancel()
            # What it sent is in the connection's buffer by then, whole.
            await asyncio.wait({self._keepalive})
            self._keepalive = None
            self.is_sending = False  # it may have been waiting for room

    async def answer(self, payload: bytes, stall_s: float) -> None:
        """Send one JSON body, whole. Fails with ClientLeft where he reads nothing for stall_s."""
        headers = [_JSON, (b"content-length", str(len(payload)).encode()), *self._extra]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        self._stop_watching()  # the server tells of a finished answer as it tells of a client that left
        self.has_begun = True
        if len(payload) < _FITS_BYTES:
            await self._send({"type": "http.response.body", "body": payload})
            return
        try:
            async with asyncio.timeout(stall_s):
                await self._send({"type": "http.response.body", "body": payload})
        except TimeoutError as exc:
            raise ClientLeft(f"the client read nothing for {stall_s:g} s") from exc

    async def pass_on(self, chunk: bytes) -> None:
        """Send some of a stream. Returns at once while the client keeps up, and waits while his buffers are full."""
        if not self.has_begun:
            await self._begin()
        self.is_sending = True
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        self.is_sending = False

    async def _begin(self) -> None:
        self.has_begun = True
        headers = [*_EVENT_HEADERS, *self._extra]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def end(self, last: bytes = b"") -> None:
        """End the stream, with its last bytes: together they are one call of the system, 18 us less than two."""
        if not self.has_begun:
            await self._begin()
        self._stop_watching()
        self.is_sending = True  # and it waits for room, where what came before filled the client's buffers
        await self._send({"type": "http.response.body", "body": last})
        self.is_sending = False
