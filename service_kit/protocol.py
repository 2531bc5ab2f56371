"""HTTP/1.1 by uvicorn's httptools, for callers that mean no good: nobody holds a connection without using it.

What uvicorn leaves open: a head has no bound in size or time, an answer no bound in time to be read, and a body that
was refused is read on for ever. Small answers are sent in one piece, besides.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service_kit.errors import ServiceError
from service_kit.failures import default_envelope, render

# Request line and headers. Browsers and proxies keep to 8 to 32 kB; beyond this it is an attack, or a bug.
MAX_HEAD_BYTES = 64 * 1024

# How long a caller may take to send a head, or to say anything at all; nginx gives 60 s, Apache 20 to 40.
HEAD_TIMEOUT_S = 30.0

# How long one who was answered may be idle. Who ends a connection should be the client, since a request that crosses
# the end on its way is lost: longer than pools keep theirs (Go's 90 s, nginx's and AWS's 60). At 30 s one of 18,000
# requests was lost by a client that kept its connections for ever.
IDLE_TIMEOUT_S = 95.0

# A caller that reads nothing of what waits for it is gone for this long: nginx's send_timeout.
STUCK_S = 60.0

# Who was answered before its body was whole may still be sending. Closed at once, the connection would be reset, and
# the answer lost on its way; so what comes is thrown away for a moment (nginx's lingering_timeout).
LINGER_S = 5.0

# So many requests may wait behind one that is being answered before no more is read. Until then it is seen when their
# sender leaves, and the one in work is stopped.
MAX_PIPELINED = 16

# Asks for HTTP/2 or a web socket, neither of which is served. llhttp ends a message there and drops its body, where
# RFC 9110 says that the header is to be passed over: the client that the JDK has sends it with every first request.
_UPGRADE = re.compile(rb"(?i)(?<=\r\n)(?=upgrade[ \t]*:)")


class BadHead(ServiceError):
    """What came is no HTTP. The caller acts."""

    code, status = "validation", 400


class LargeHead(ServiceError):
    """Request line and headers are over the limit. The caller acts."""

    code, status = "too_large", 431


class SlowHead(ServiceError):
    """Request line and headers took too long. The caller acts."""

    code, status = "timeout", 408


class _Transport:
    """A transport that holds the head of an answer until its body follows, or until the loop comes round.

    uvicorn writes the two one after the other, each a call of the system: of a forwarded request's 200 us, 18.
    """

    __slots__ = ("_head", "_loop", "_transport", "_unread", "_watch")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop):
        self._transport = transport
        self._loop = loop
        self._head = b""
        self._unread = 0
        self._watch: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        self._flush()
        self._transport.close()
        self.watch()  # what is unread keeps it open

    def watch(self) -> None:
        """Break off where nothing of what waits is read for STUCK_S."""
        self.unwatch()
        self._unread = self._transport.get_write_buffer_size()
        if self._unread:
            self._watch = self._loop.call_later(STUCK_S, self._look)

    def unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look(self) -> None:
        if self._transport.get_write_buffer_size() >= self._unread:
            self._transport.abort()
        else:
            self.watch()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class ServiceProtocol(HttpToolsProtocol):
    """One connection. Its own refusals are in the app's envelope (`app.state.envelope`), and close it."""

    # What came since a head began, or since its body last grew.
    _head_bytes = 0
    _is_in_head = True
    _has_grown = False
    _is_lingering = False
    _timer: asyncio.TimerHandle | None = None
    # Since when we wait for a head, in the loop's time; None while a request is in work.
    _waits_since: float | None = None
    _out: _Transport
    # Requests that came before the last one and are not answered yet; uvicorn tells only the last that its caller left.
    _earlier: Sequence[RequestResponseCycle] = ()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        self._out = _Transport(transport, self.loop)
        self.transport = self._out  # type: ignore[assignment]
        self._waits_since = self.loop.time()
        # One timer a connection, and none a request.
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._look_at_the_time)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        if self._timer is not None:
            self._timer.cancel()
        for cycle in self._earlier:
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)
        self._out.unwatch()

    def on_message_begin(self) -> None:
        """A request begins; another one may have ended in the same packet."""
        self._head_bytes, self._is_in_head = 0, True
        if self._waits_since is not None:
            self._waits_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """What follows is the body, which has its own limit (middleware.BodyLimit)."""
        self._head_bytes, self._is_in_head, self._waits_since = 0, False, None
        before = self.cycle
        super().on_headers_complete()
        if before is not None and not before.response_complete:
            self._earlier = [*self._earlier, before]
            if len(self._earlier) < MAX_PIPELINED:
                self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """Some of a body, which middleware.BodyLimit counts."""
        self._has_grown = True
        super().on_body(body)

    def on_response_complete(self) -> None:
        """The next request may begin, if this one has ended."""
        super().on_response_complete()
        if self._earlier:
            self._earlier = [cycle for cycle in self._earlier if not cycle.response_complete]
        if not self.cycle.response_complete or self.transport.is_closing():
            return
        self._waits_since = self.loop.time()
        if self.cycle.more_body:
            self._linger()

    def data_received(self, data: bytes) -> None:
        """Parse a packet, and count it where the head goes on after it, or a body's chunk extensions or trailers do.

        Trailers are headers, too, and uvicorn keeps all of them: 78 MB took 1,350 MB of memory, in 1.5 s.
        """
        if self._is_lingering:
            return
        if b"pgrade" in data and (self._is_in_head or self._waits_since is not None):
            data = _without_upgrade(data)
        self._has_grown = False
        super().data_received(data)
        if self._has_grown:
            self._head_bytes = 0
        elif self._is_in_head or (self.cycle is not None and self.cycle.more_body):
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(LargeHead(f"request line and headers are over {MAX_HEAD_BYTES} bytes"))

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        self._refuse(BadHead("this is not HTTP/1.1, or not as it should be"))

    def pause_writing(self) -> None:
        """The client does not keep up."""
        super().pause_writing()
        self._out.watch()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._out.unwatch()

    def _refuse(self, error: ServiceError) -> None:
        if not (self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete):
            state = getattr(self.config.app, "state", None)
            path = (getattr(self, "url", b"") or b"/").decode("latin-1").partition("?")[0]
            response = render(path, error, getattr(state, "envelope", default_envelope))
            lines = [STATUS_LINE[error.status].removesuffix(b"\r\n")]
            lines += [name + b": " + value for name, value in response.raw_headers]
            self.transport.write(b"\r\n".join([*lines, b"connection: close", b"", bytes(response.body)]))
        self._linger()

    def _look_at_the_time(self) -> None:
        is_idle = self.cycle is not None and not self._head_bytes
        patience_s = IDLE_TIMEOUT_S if is_idle else HEAD_TIMEOUT_S
        waited_s = 0.0 if self._waits_since is None else self.loop.time() - self._waits_since
        if waited_s < patience_s:
            # A head that begins meanwhile has its own time.
            after_s = min(patience_s - waited_s, HEAD_TIMEOUT_S)
            self._timer = self.loop.call_later(after_s, self._look_at_the_time)
        elif self._head_bytes:
            self._refuse(SlowHead(f"request line and headers took over {HEAD_TIMEOUT_S:g} s"))
        else:
            self.transport.close()

    def _linger(self) -> None:
        self._is_lingering = True
        self._unset_keepalive_if_required()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)
        self._out.write_eof()


def _without_upgrade(data: bytes) -> bytes:
    """The same, with that header under a name that nobody reads. One that is torn between packets stays."""
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"x-", head + b"\r\n")[:-2] + end + rest
