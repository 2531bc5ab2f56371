"""Connections that stay: how long the gateway has patience with whom, what it then lets go, and whom it serves on."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import uvicorn

from llm_service.core.settings import LlmSettings
from llm_service.main import create_app
from service_kit import protocol
from tests.llm_service.wire import (
    COMPLETION,
    HALF,
    ask_bytes,
    connect,
    envelope_in,
    post,
    quickest,
    read_answer,
    request_bytes,
    settled,
    until,
)
from tests.support.live import live
from tests.support.unruly_llm import END, FIRST, UnrulyLlm, answer, flood, hang, stream


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol's own patience, shortened from 30, 95, 60 and 5 s."""
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.4)
    monkeypatch.setattr(protocol, "IDLE_TIMEOUT_S", 0.4)
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
        await until(lambda: server.started)
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

        async def hung_up_s() -> float:
            reader, writer = await connect(url)
            writer.write(sent)
            dribble = b"\r\n" if sent.endswith(b"\n") else b"x"
            started = time.monotonic()
            reading = asyncio.create_task(reader.read())
            while not reading.done():
                if sent:
                    writer.write(dribble)
                await asyncio.sleep(0.05)
                assert time.monotonic() - started < 30
            took_s = time.monotonic() - started
            came = await reading
            assert came.startswith(f"HTTP/1.1 {status} ".encode() if status else b"")
            if status:
                assert envelope_in(came.partition(b"\r\n\r\n")[2].partition(b"HTTP/1.1")[0])
            writer.close()
            await until(lambda: not server.server_state.connections)
            return took_s

        assert await quickest(hung_up_s, 1.5) < 1.5  # and not by the keep-alive of 5 s


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
        assert b"[DONE]" in await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 30)
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
        await until(lambda: upstream.calls == 1)
        # Keep-alive is 5 s, after which an answer that is through is closed.
        await until(lambda: not server.server_state.connections, what="the connection closed")
        await until(lambda: not server.server_state.tasks, what="its task ended")
        await until(lambda: upstream.active == 0)
        assert (await settled(url)).value("llm_requests_in_work") == 0
        writer.transport.abort()


async def test_departures_leave_no_task_behind() -> None:
    plays = [hang, hang, stream(ending="hangs"), stream(FIRST, ending="hangs"), stream(FIRST, *[0.05, FIRST] * 3000)]
    upstream = UnrulyLlm([*plays * 8, hang])
    # Nothing of it would end by itself while the test waits.
    patient = {"llm_queue_timeout_s": 300, "llm_body_timeout_s": 300}
    async with serving(upstream, llm_max_concurrent_requests=40, llm_keepalive_s=0.05, **patient) as (url, server):
        await post(url, model="unknown")
        await until(lambda: not server.server_state.tasks)
        before = len(asyncio.all_tasks())
        writers = []
        for number in range(80):  # 40 find a place, 20 wait, and 20 have not sent all
            _, writer = await connect(url)
            writer.write(HALF if number >= 60 else ask_bytes(stream=number % 5 != 0))
            writers.append(writer)
        await until(lambda: upstream.active == 40 and len(server.server_state.tasks) == 80)
        assert len(asyncio.all_tasks()) > before + 80
        for writer in writers:
            writer.close()
        await until(lambda: len(asyncio.all_tasks()) <= before, what="the tasks gone")
        await until(lambda: upstream.active == 0, what="the upstream's work stopped")


async def test_who_reads_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than a connection may be stuck, and each of his pauses is shorter."""
    monkeypatch.setattr(protocol, "STUCK_S", 2.0)
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
            await asyncio.sleep(0.04 if got < 19_000_000 else 0)
        writer.close()
