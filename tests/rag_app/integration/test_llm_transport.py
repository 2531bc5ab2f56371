"""httpx over aiohttp: the same answers, and the same failures, as httpx's own transport."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from rag_app.clients.llm_transport import AiohttpTransport
from tests.support.live import free_port, live


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        told = {"body": (await request.body()).decode(), "own": request.headers.get("x-own")}
        return Response(str(told), 201, {"x-back": "yes", "set-cookie": "a=b"})

    @app.get("/packed")
    async def packed() -> Response:
        return Response(gzip.compress(b"unpacked"), headers={"content-encoding": "gzip"})

    @app.get("/moved")
    async def moved() -> Response:
        return Response(status_code=307, headers={"location": "/packed"})

    @app.get("/silent")
    async def silent() -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.sleep(30)

        return StreamingResponse(body())

    @app.get("/torn")
    async def torn() -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"first"
            raise RuntimeError("torn")

        return StreamingResponse(body())

    with live(app) as address:
        yield address


@pytest.fixture(params=[AiohttpTransport, httpx.AsyncHTTPTransport])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=request.param(), timeout=httpx.Timeout(20, read=0.5)) as client:
        yield client


async def read(client: httpx.AsyncClient, url: str, into: list[bytes]) -> None:
    async with client.stream("GET", url) as answer:
        async for part in answer.aiter_bytes():
            into.append(part)


async def test_a_request_and_its_answer_pass_whole(client: httpx.AsyncClient, url: str) -> None:
    answer = await client.post(f"{url}/echo?q=a%20b", content="é", headers={"x-own": "1"})
    assert answer.status_code == 201
    assert answer.headers["x-back"] == "yes"
    assert answer.text == "{'body': 'é', 'own': '1'}"


async def test_packed_answers_are_unpacked_once_and_redirects_are_left_to_httpx(
    client: httpx.AsyncClient, url: str
) -> None:
    assert (await client.get(f"{url}/packed")).text == "unpacked"
    assert (await client.get(f"{url}/moved")).status_code == 307


async def test_a_stream_comes_as_it_is_sent_and_silence_is_a_read_timeout(client: httpx.AsyncClient, url: str) -> None:
    got: list[bytes] = []
    with pytest.raises(httpx.ReadTimeout):
        await read(client, f"{url}/silent", got)
    assert got == [b"first"]


async def test_a_stream_that_is_torn_is_a_protocol_error(client: httpx.AsyncClient, url: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await read(client, f"{url}/torn", [])


async def test_nobody_there_is_a_connect_error(client: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.ConnectError):
        await client.get(f"http://127.0.0.1:{free_port()}/")


async def test_one_that_hangs_up_before_it_answers_is_a_transport_error(client: httpx.AsyncClient) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, family=socket.AF_INET)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(httpx.TransportError):
            await client.post(f"http://127.0.0.1:{port}/", content="x")


async def test_leaving_a_stream_closes_its_connection(client: httpx.AsyncClient) -> None:
    has_left = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await reader.read()  # until the client hangs up
        has_left.set()
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0, family=socket.AF_INET)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with client.stream("GET", f"http://127.0.0.1:{port}/") as answer:
            assert await anext(answer.aiter_bytes()) == b"first"
        await asyncio.wait_for(has_left.wait(), 20)


async def test_no_cookie_is_kept_and_connections_are_used_again(url: str) -> None:
    async with httpx.AsyncClient(transport=AiohttpTransport()) as client:
        for _ in range(3):
            await client.post(f"{url}/echo", content="x")
        transport = client._transport
        assert isinstance(transport, AiohttpTransport)
        session = transport._session
        assert session is not None
        assert len(session.cookie_jar) == 0
        assert session.connector is not None
        assert sum(len(held) for held in session.connector._conns.values()) == 1
