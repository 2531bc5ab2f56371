"""What a chunked body may carry besides its bytes: extensions of its chunks, and headers behind it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service_kit import protocol

HEAD = b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"
FLOODS = {
    "many trailers": (b"0\r\n", b"".join(b"a: b%d\r\n" % i for i in range(1_000))),
    "one trailer": (b"0\r\na: ", b"x" * 10_000),
    "an extension": (b"1;", b"x" * 10_000),
}


async def echo_size(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers how many bytes the body has, and how many headers it knows of once it is whole."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    told = f"{size} {len(scope['headers'])}".encode()
    headers = [(b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


@pytest.fixture
async def connection() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = uvicorn.Config(
        echo_size, port=0, log_config=None, http=protocol.ServiceProtocol, access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname()[:2])
    yield reader, writer
    writer.close()
    server.should_exit = True
    await running


@pytest.fixture
def brief_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGER_S", 0.2)


@pytest.mark.usefixtures("brief_linger")
@pytest.mark.parametrize("flood", FLOODS)
async def test_what_stands_beside_a_body_has_the_bound_of_a_head(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], flood: str
) -> None:
    """Found here: 78 MB of trailers, sent in 1.5 s, were kept as headers and took 1,350 MB of memory."""
    reader, writer = connection
    begin, more = FLOODS[flood]
    writer.write(HEAD + begin)
    answer = asyncio.create_task(reader.read())
    for _ in range(40):
        writer.write(more)
        await asyncio.sleep(0.005)
        if writer.is_closing() or answer.done():
            break
    assert (await asyncio.wait_for(answer, 30)).startswith(b"HTTP/1.1 431 ")


async def test_a_few_trailers_and_extensions_do_no_harm_however_long_the_body_is(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    reader, writer = connection
    writer.write(HEAD)
    for _ in range(20):
        await asyncio.sleep(0.01)
        writer.write(b"2710;name=value\r\n" + b"x" * 10_000 + b"\r\n")
    writer.write(b"0\r\nchecksum: 1\r\n\r\n")
    answer = await asyncio.wait_for(reader.readuntil(b"200002 3"), 30)
    assert answer.startswith(b"HTTP/1.1 200 ")
    writer.write(HEAD + b"0\r\n\r\n")  # and the connection goes on
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n2 2"), 30)).startswith(b"HTTP/1.1 200 ")
