"""Callers that mean harm, or are only many: they are refused or served, others are served, and nothing is kept."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import uvicorn

from llm_service.core.settings import LlmSettings
from llm_service.main import create_app
from service_kit import protocol
from tests.llm_service.processes import Gateway, gateway
from tests.llm_service.wire import (
    CHAT,
    COMPLETION,
    HELLO,
    ask_bytes,
    connect,
    envelope_in,
    metrics,
    post,
    raw_answer,
    read_answer,
    request_bytes,
    settled,
    until,
)
from tests.support.live import live
from tests.support.unruly_llm import END, FIRST, UnrulyLlm, answer, flood, hang, stream

MANY = 200

# Sent without its end; a request like it that is whole takes a place at the door.
HALF = ask_bytes()[:-10]
ENDLESS = f"POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n".encode()


# --- departures ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def before(play: Any, folder: Path, **environment: Any) -> Iterator[tuple[Gateway, UnrulyLlm, Callable[[], int]]]:
    """A gateway as a process, an upstream, and how many connections are between them."""
    upstream = UnrulyLlm([play])
    with live(upstream) as address, gateway(folder, llm_base_url=address + "/v1", **environment) as running:
        port = httpx.URL(address).port
        assert port is not None
        yield running, upstream, lambda: running.sockets_to(port)


async def come_and_go(url: str, sent: bytes, count: int, are_there: Callable[[], Any], wait_for: bytes = b"") -> float:
    """So many send the same, and all leave once they are where they should be. Returns the time at which they left.

    wait_for: what each must have read before.
    """
    writers = []
    for _ in range(count):
        reader, writer = await connect(url)
        writer.write(sent)
        writers.append(writer)
        if wait_for:
            await reader.readuntil(wait_for)
    await until(are_there, 20, "all at their places")
    for writer in writers:
        writer.close()
    return time.monotonic()


@pytest.mark.parametrize(
    ("play", "is_stream", "wait_for"),
    [
        pytest.param(hang, False, b"", id="in a plain call"),
        pytest.param(hang, True, b"", id="before the upstream's headers"),
        pytest.param(stream(ending="hangs"), True, b"", id="between headers and first token"),
        pytest.param(stream(FIRST, ending="hangs"), True, FIRST, id="in a silent stream"),
        pytest.param(stream(FIRST, *[0.05, FIRST] * 500), True, FIRST, id="in a talking stream"),
    ],
)
async def test_200_departures_leave_nothing_at_the_upstream_after_half_a_second(
    tmp_path: Path, play: Any, is_stream: bool, wait_for: bytes
) -> None:
    with before(play, tmp_path) as (running, upstream, connections):
        await post(running.url, model="unknown")  # what is read once, is read
        idle, descriptors = connections(), running.descriptors()
        sent = ask_bytes(stream=is_stream)
        left_at = await come_and_go(running.url, sent, MANY, lambda: upstream.active == MANY, wait_for)
        await until(lambda: connections() <= idle, 5, "no connection to the upstream")
        assert time.monotonic() - left_at < 0.5 + 0.5  # and half a second for closing 200 sockets here
        await until(lambda: upstream.active == 0, 1)
        assert upstream.calls == MANY
        # One by one each is noticed as quickly.
        for _ in range(5):
            left_at = await come_and_go(running.url, sent, 1, lambda: upstream.active == 1, wait_for)
            await until(lambda: connections() <= idle and upstream.active == 0, 5)
            assert time.monotonic() - left_at < 0.5
        seen = await settled(running.url)
        for gauge in ("llm_requests_in_work", "llm_requests_queued", "llm_backend_in_flight"):
            assert seen.value(gauge) == 0
        assert seen.value("llm_requests_total", outcome="client_left") == MANY + 5
        await until(lambda: running.descriptors() <= descriptors + 3, 6, "the descriptors back")
        assert "Traceback" not in running.log
        assert "never retrieved" not in running.log


async def test_200_departures_from_the_queue_and_from_half_sent_bodies_ask_nothing(tmp_path: Path) -> None:
    with before(hang, tmp_path, llm_max_concurrent_requests=1, llm_queue_timeout_s=60) as (running, upstream, _):
        url = running.url
        descriptors = running.descriptors()
        first = asyncio.create_task(post(url))
        await until(lambda: upstream.active == 1, 5)

        async def all_wait() -> bool:
            return (await settled_but(url, 1 + MANY)).value("llm_requests_queued") == MANY

        left_at = await come_and_go(url, ask_bytes(), MANY, all_wait)

        async def none_waits() -> bool:
            return (await settled_but(url, 1)).value("llm_requests_queued") == 0

        await until(none_waits, 5)
        assert time.monotonic() - left_at < 1.0

        async def all_are_there() -> bool:
            return (await settled_but(url, 1 + MANY)).value("http_requests_in_flight") == 2 + MANY

        await come_and_go(url, HALF, MANY, all_are_there)
        assert (await settled_but(url, 1)).value("llm_requests_in_work") == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        seen = await settled(url)
        assert upstream.calls == 1
        assert seen.value("llm_requests_in_work") == 0
        assert seen.value("http_requests_total", status="499") == 1 + 2 * MANY
        await until(lambda: running.descriptors() <= descriptors + 3, 6, "the descriptors back")
        # The budget of bodies has them back, too: one as large as all of it is taken.
        assert (await raw_answer(url, request_bytes(b"{" * 9_000_000)))[0] == 400


async def settled_but(url: str, others: int) -> Any:
    """The metrics once so many requests beside the scrape are in flight."""
    seen = [await metrics(url)]

    async def are_so_many() -> bool:
        seen.append(await metrics(url))
        return seen[-1].value("http_requests_in_flight") == 1 + others

    await until(are_so_many, 10, f"{others} requests in flight")
    return seen[-1]


async def test_who_closes_one_half_of_his_connection_is_taken_for_gone(tmp_path: Path) -> None:
    with before(hang, tmp_path) as (running, upstream, _):
        reader, writer = await connect(running.url)
        writer.write(ask_bytes(stream=True))
        await until(lambda: upstream.active == 1, 5)
        writer.write_eof()
        assert await until(lambda: upstream.active == 0, 5) < 0.5
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        assert (await settled(running.url)).value("llm_requests_in_work") == 0


@pytest.mark.parametrize("late", [False, True])
async def test_who_sends_a_second_request_behind_the_first_and_leaves_is_noticed(tmp_path: Path, late: bool) -> None:
    """Found here: until the first was answered nothing was read, and so not that he had gone."""
    with before(hang, tmp_path) as (running, upstream, _):
        _, writer = await connect(running.url)
        writer.write(ask_bytes() if late else ask_bytes() * 2)
        await until(lambda: upstream.active == 1, 5)
        if late:
            writer.write(ask_bytes())
            await asyncio.sleep(0.1)
        writer.close()
        assert await until(lambda: upstream.active == 0, 5) < 0.5
        assert (await settled(running.url)).value("llm_requests_in_work") == 0
        assert upstream.calls == 1


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("hostile")
    with gateway(folder, llm_provider="scripted", llm_body_timeout_s=1.0, llm_max_body_bytes=1_000_000) as running:
        yield running


async def test_a_quick_body_without_end_is_413_and_hung_up_on(scripted: Gateway) -> None:
    """Found here: it was answered, and read on for ever."""
    reader, writer = await connect(scripted.url)
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    writer.write(ENDLESS)
    sent = 0

    async def send_on() -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
                await asyncio.sleep(0.001)

    sending = asyncio.create_task(send_on())
    async with asyncio.timeout(10):
        status, _, body = await read_answer(reader)
        assert (status, envelope_in(body)["code"]) == (413, "request_too_large")
        assert sent < 20_000_000
        await sending  # it is reset, some seconds later
    writer.close()


async def test_a_slow_body_without_end_is_408_and_hung_up_on(scripted: Gateway) -> None:
    reader, writer = await connect(scripted.url)
    writer.write(ENDLESS)

    async def send_on() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)

    sending, started = asyncio.create_task(send_on()), time.monotonic()
    async with asyncio.timeout(10):
        status, _, body = await read_answer(reader)
        assert (status, envelope_in(body)["code"]) == (408, "timeout")
        assert 0.9 < time.monotonic() - started < 2
        await sending
    writer.close()


async def test_pipelined_requests_that_nobody_reads_are_not_all_held(scripted: Gateway) -> None:
    """Their answers would be 100 MB, if they were all made."""
    before = scripted.rss_mb()
    _, writer = await connect(scripted.url)
    for _ in range(200):
        writer.write(request_bytes(orjson.dumps({"model": "scripted", "messages": HELLO, "max_tokens": 8000})))
        writer.write(request_bytes(b"", "/openapi.json", method="GET"))
    await asyncio.sleep(1)
    assert (await post(scripted.url, model="scripted")).status_code == 200
    assert scripted.rss_mb() - before < 30
    writer.close()
    await settled(scripted.url)


async def test_after_all_of_this_it_serves_and_holds_nothing(scripted: Gateway) -> None:
    assert (await post(scripted.url, model="scripted")).status_code == 200
    seen = await settled(scripted.url)
    assert seen.value("llm_requests_in_work") == 0
    assert "Traceback" not in scripted.log


# --- a thousand slow ones --------------------------------------------------------------------------------------------


# 150 kB/s: a fast model's tokens have 50.
RIVER = stream(*[FIRST * 100, 0.1] * 600)


async def two_faced(scope: Any, receive: Any, send: Any) -> None:
    """An upstream that tells much to who asks for it, and answers others at once."""
    if scope["type"] != "http":
        return
    body = b"" if scope["method"] == "GET" else (await receive())["body"]
    if scope["method"] == "GET":
        play = answer(200, {"object": "list", "data": [{"id": "m", "object": "model"}]})
    elif b"much" in body:
        play = RIVER
    else:
        play = stream(FIRST, END) if b'"stream"' in body else answer(200, COMPLETION)
    await play(send)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("crowd")
    with live(two_faced) as address, gateway(folder, llm_base_url=address + "/v1") as running:
        yield running


class Crowd:
    """1,000 slow clients: 300 that dribble a body, 300 that dribble a head, 400 that do not read their stream."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._writers: list[asyncio.StreamWriter] = []
        self._dribbling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Crowd":
        asks_much = ask_bytes(stream=True, messages=[{"role": "user", "content": "much"}])
        at = httpx.URL(self._url)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: "
        body = ENDLESS + b'C\r\n{"messages":\r\n'
        for number in range(1_000):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # else Linux takes some MB for him
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, (at.host, at.port))
            reader, writer = await asyncio.open_connection(sock=connection)
            reader._limit = 1  # type: ignore[attr-defined]  # it stops reading from the socket at once
            writer.write(body if number < 300 else head if number < 600 else asks_much)
            self._writers.append(writer)
        self._dribbling = asyncio.create_task(self._dribble())
        return self

    async def _dribble(self) -> None:
        while True:
            for number, writer in enumerate(self._writers[:600]):
                writer.write(b"1\r\nx\r\n" if number < 300 else b"x")
                if number % 50 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0.5)

    async def __aexit__(self, *_: object) -> None:
        assert self._dribbling is not None
        self._dribbling.cancel()
        for writer in self._writers:
            writer.transport.abort()


async def test_among_a_thousand_slow_clients_another_is_served_within_a_second(crowded: Gateway) -> None:
    url = crowded.url
    for _ in range(20):
        await post(url)
    rss_mb, descriptors = crowded.rss_mb(), crowded.descriptors()
    async with Crowd(url):
        async with httpx.AsyncClient(timeout=10) as http:
            for _ in range(5):
                started = time.monotonic()
                answered = await http.post(url + CHAT, json={"model": "m", "messages": HELLO})
                assert answered.status_code == 200
                assert time.monotonic() - started < 1
                started = time.monotonic()
                body = {"model": "m", "messages": HELLO, "stream": True}
                assert (await http.post(url + CHAT, json=body)).content == FIRST + END
                assert time.monotonic() - started < 1
                await asyncio.sleep(0.3)
        assert crowded.descriptors() >= descriptors + 900
        assert crowded.rss_mb() - rss_mb < 100  # measured: 50
        cpu_s = crowded.cpu_s()
        await asyncio.sleep(1)
        assert crowded.cpu_s() - cpu_s < 0.5  # they are held, not worked for
    await until(lambda: crowded.descriptors() <= descriptors + 5, 10, "the descriptors back")
    seen = await settled(url)
    assert seen.value("llm_requests_in_work") == 0
    assert seen.value("llm_requests_total", outcome="client_left") == 400
    first_mb = crowded.rss_mb()
    async with Crowd(url):  # what a first crowd leaves in the allocator, a second one uses
        await asyncio.sleep(1)
    await until(lambda: crowded.descriptors() <= descriptors + 5, 10, "the descriptors back")
    await settled(url)
    assert crowded.rss_mb() - first_mb < 10
    assert "Traceback" not in crowded.log


# --- those who stay --------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol's own patience, shortened from 30, 60 and 5 s."""
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.4)
    monkeypatch.setattr(protocol, "STUCK_S", 0.4)
    monkeypatch.setattr(protocol, "LINGER_S", 0.3)


@contextlib.asynccontextmanager
async def serving(upstream: Any, **settings: Any) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    """The gateway in this loop, by the protocol that a process has; and uvicorn, which knows its connections."""
    with live(upstream) as address:
        app = create_app(LlmSettings(_env_file=None, llm_base_url=address + "/v1", **settings))
        config = uvicorn.Config(app, port=0, log_config=None, http=protocol.ServiceProtocol, access_log=False)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve())
        await until(lambda: server.started, 10)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", server
        server.should_exit = True
        await running


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"", None, id="says nothing"),
        pytest.param(b"POST /v1/chat", 408, id="stops in its first line"),
        pytest.param(b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ", 408, id="stops in a header"),
        pytest.param(request_bytes(b"", "/nowhere") + b"GET /", 404, id="stops in its second head"),
        pytest.param(request_bytes(b"", "/nowhere") + b"\r\n\r\n", 404, id="sends empty lines after its first request"),
    ],
)
async def test_who_never_ends_his_head_is_hung_up_on(sent: bytes, status: int | None) -> None:
    async with serving(UnrulyLlm([answer(200, COMPLETION)])) as (url, server):
        reader, writer = await connect(url)
        writer.write(sent)
        dribble = b"\r\n" if sent.endswith(b"\n") else b"x"
        started = time.monotonic()
        reading = asyncio.create_task(reader.read())
        while not reading.done() and time.monotonic() - started < 3:
            if sent:
                writer.write(dribble)
            await asyncio.sleep(0.05)
        assert time.monotonic() - started < 1.5
        came = await reading
        assert came.startswith(f"HTTP/1.1 {status} ".encode() if status else b"")
        if status:
            assert envelope_in(came.partition(b"\r\n\r\n")[2].partition(b"HTTP/1.1")[0])
        writer.close()
        await until(lambda: not server.server_state.connections, 2)


@pytest.mark.usefixtures("impatient")
async def test_who_keeps_asking_is_not_hung_up_on() -> None:
    """The time for a head is for each head: a connection may live longer, idle too."""
    async with serving(UnrulyLlm([stream(FIRST, *[0.1, FIRST] * 8, 0.1, END)])) as (url, _):
        reader, writer = await connect(url)
        for _ in range(8):
            writer.write(request_bytes(b"", "/nowhere"))
            assert (await read_answer(reader))[0] == 404
            await asyncio.sleep(0.1)
        writer.write(ask_bytes(stream=True))  # for longer than a head may take
        assert b"[DONE]" in await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
        writer.write(request_bytes(b"", "/nowhere"))
        assert (await read_answer(reader))[0] == 404
        writer.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "play",
    [
        pytest.param(flood, id="a stream"),
        pytest.param(answer(200, {**COMPLETION, "padding": "x" * 20_000_000}), id="a large answer"),
        pytest.param(stream(FIRST * 200_000, ending="dies"), id="a stream that broke"),
    ],
)
async def test_who_never_reads_and_never_leaves_is_hung_up_on(play: Any) -> None:
    """Found here: his request was over, and his connection stayed for ever, with all that he had not read."""
    upstream = UnrulyLlm([play])
    async with serving(upstream, llm_idle_timeout_s=0.5) as (url, server):
        reader, writer = await connect(url)
        reader._limit = 1  # type: ignore[attr-defined]
        writer.write(ask_bytes(stream=True))
        await until(lambda: upstream.calls == 1, 5)
        # Keep-alive is 5 s, after which an answer that is through is closed.
        await until(lambda: not server.server_state.connections, 9, "the connection closed")
        await until(lambda: not server.server_state.tasks, 1, "its task ended")
        assert upstream.active == 0
        assert (await settled(url)).value("llm_requests_in_work") == 0
        writer.transport.abort()


async def test_departures_leave_no_task_behind() -> None:
    plays = [hang, hang, stream(ending="hangs"), stream(FIRST, ending="hangs"), stream(FIRST, *[0.05, FIRST] * 500)]
    upstream = UnrulyLlm([*plays * 8, hang])
    async with serving(upstream, llm_max_concurrent_requests=40, llm_keepalive_s=0.05) as (url, server):
        await post(url, model="unknown")
        await until(lambda: not server.server_state.tasks, 5)
        before = len(asyncio.all_tasks())
        writers = []
        for number in range(80):  # 40 find a place, 20 wait, and 20 have not sent all
            _, writer = await connect(url)
            writer.write(HALF if number >= 60 else ask_bytes(stream=number % 5 != 0))
            writers.append(writer)
        await until(lambda: upstream.active == 40 and len(server.server_state.tasks) == 80, 5)
        assert len(asyncio.all_tasks()) > before + 80
        for writer in writers:
            writer.close()
        await until(lambda: len(asyncio.all_tasks()) <= before, 0.5, "the tasks gone")
        await until(lambda: upstream.active == 0, 0.5, "the upstream's work stopped")


@pytest.mark.usefixtures("impatient")
async def test_who_reads_slowly_gets_all_of_it() -> None:
    big = {**COMPLETION, "padding": "x" * 20_000_000}
    async with serving(UnrulyLlm([answer(200, big)])) as (url, _):
        reader, writer = await connect(url)
        writer.write(ask_bytes())
        head = await reader.readuntil(b"\r\n\r\n")
        length, got = len(orjson.dumps(big)), 0
        assert f"content-length: {length}".encode() in head
        while got < length:
            piece = await reader.read(1_000_000)
            assert piece
            got += len(piece)
            await asyncio.sleep(0.02 if got < 19_000_000 else 0)
        writer.close()
