"""The fake model's server: `python -m benchmarks.llm.upstream`. Fast, so that what is measured is what is before it.

A bare protocol on uvloop with everything encoded beforehand: a plain answer costs it 10 to 20 CPU-us. Its CPU is in no
figure. PUT /pace/{ms} sets the time between a stream's tokens, 0: one right after the other; GET /count tells how many
answers were begun.
"""

import asyncio
import os
from typing import cast

import httptools
import orjson
import uvloop

from benchmarks.llm import wire

_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def _whole(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _framed(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


_PLAIN = _whole(wire.plain_answer())
_MODELS = _whole(orjson.dumps({"object": "list", "data": [{"id": wire.MODEL, "object": "model", "owned_by": "bench"}]}))
_STREAMS = {
    with_usage: [_framed(event) for event in wire.events(with_usage=with_usage)] for with_usage in (False, True)
}
_END = b"0\r\n\r\n"


class _Script:
    """What all connections share."""

    pace_s = 0.0
    count = 0


class _Connection(asyncio.Protocol):
    def __init__(self, script: _Script) -> None:
        self._script = script
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._body = b"", b""
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url, self._body = url, b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._url.endswith(b"/chat/completions"):
            self._script.count += 1
            fields = orjson.loads(self._body)
            if fields.get("stream"):
                wants_usage = bool((fields.get("stream_options") or {}).get("include_usage"))
                self._stream(_STREAMS[wants_usage])
            else:
                self._transport.write(_PLAIN)
        elif self._url.endswith(b"/models"):
            self._transport.write(_MODELS)
        elif self._url.startswith(b"/pace/"):
            self._script.pace_s = float(self._url.rpartition(b"/")[2]) / 1e3
            self._transport.write(_whole(b"{}"))
        else:
            self._transport.write(_whole(b"%d" % self._script.count))

    def _stream(self, writes: list[bytes]) -> None:
        self._transport.write(_STREAM_HEAD + writes[0])
        self._next(writes, 1, self._loop.time() + self._script.pace_s)

    def _next(self, writes: list[bytes], number: int, due: float) -> None:
        if self._script.pace_s:
            # At its time and not after a pause, so that a late one does not put off all that follow.
            self._timer = self._loop.call_at(due, self._write, writes, number, due)
        else:
            # One after the other, yet each in a turn of the loop and so in a packet of its own.
            self._loop.call_soon(self._write, writes, number, due)

    def _write(self, writes: list[bytes], number: int, due: float) -> None:
        if self._transport.is_closing():
            return
        if number == len(writes) - 1:
            self._transport.write(writes[number] + _END)
        else:
            self._transport.write(writes[number])
            self._next(writes, number + 1, due + self._script.pace_s)


async def _serve(port: int) -> None:
    loop, script = asyncio.get_running_loop(), _Script()
    server = await loop.create_server(lambda: _Connection(script), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(os.environ["UPSTREAM_PORT"])))
