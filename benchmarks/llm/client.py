"""The client: one keep-alive connection each, a bare protocol on uvloop, so that it takes a fraction of a server's CPU.

It sends bytes made beforehand and keeps what comes; what it says is looked at when the answer is whole.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools

from benchmarks.llm.wire import WrongAnswer

# A stream behind 127 others at LiteLLM takes 15 s; beyond this a server hangs.
REQUEST_LIMIT_S = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """first_s: from the request to the body's first event or byte. whole_s: to its end."""

    status: int
    body: bytes
    first_s: float
    whole_s: float


class Connection(asyncio.Protocol):
    """One client. It asks again when it has been answered; `send` must not be called before."""

    def __init__(self, host: str, port: int) -> None:
        """Not connected yet; see `open_all`."""
        self._host, self._port = host, port
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._started = self._first = 0.0
        self._answered: asyncio.Future[Answer] | None = None

    async def connect(self) -> None:
        """Connect. Fails with WrongAnswer where the server takes no connection."""
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, self._host, self._port)
        except OSError as exc:
            raise WrongAnswer(f"no connection: {exc}") from exc

    async def send(self, request: bytes) -> Answer:
        """Send a request; returns its whole answer, of whatever status. Fails with WrongAnswer where none comes."""
        if self._transport.is_closing():
            # uvicorn closes what was idle for 5 s: as long as LiteLLM takes over the others' first requests.
            await self.connect()
        self._answered = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._pieces, self._first = [], 0.0
        self._started = time.perf_counter()
        self._transport.write(request)
        try:
            async with asyncio.timeout(REQUEST_LIMIT_S):
                return await self._answered
        except TimeoutError as exc:
            raise WrongAnswer(f"no whole answer within {REQUEST_LIMIT_S} s") from exc

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's: an answer that is not whole by now never will be."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(WrongAnswer(f"the connection was closed: {exc or 'by the server'}"))

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """httptools': a part of the body. A comment that keeps a stream alive is not its first event."""
        if not self._first and body[:1] != b":":
            self._first = time.perf_counter()
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """httptools'."""
        ended = time.perf_counter()
        first_s = (self._first or ended) - self._started
        answer = Answer(self._parser.get_status_code(), b"".join(self._pieces), first_s, ended - self._started)
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(answer)


async def open_all(url: str, count: int) -> list[Connection]:
    """So many connections to a server. Fails with WrongAnswer where it takes none."""
    parts = urlsplit(url)
    connections = [Connection(parts.hostname or "127.0.0.1", parts.port or 80) for _ in range(count)]
    for connection in connections:
        await connection.connect()
    return connections
