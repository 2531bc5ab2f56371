"""How long a connection may be idle: one that was used longer than one that was not, and both not for ever."""

import http.client
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from service_kit import protocol

# In place of 30 and 95 s.
HEAD_S, IDLE_S = 0.3, 1.5


async def hello(request: Request) -> PlainTextResponse:
    """Any answer."""
    return PlainTextResponse("hello")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[http.client.HTTPConnection]:
    """A connection to a service by the protocol that a process has, which waits for at most ten times as long."""
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", HEAD_S)
    monkeypatch.setattr(protocol, "IDLE_TIMEOUT_S", IDLE_S)
    config = uvicorn.Config(
        Starlette(routes=[Route("/", hello)]), port=0, http=protocol.ServiceProtocol, log_config=None,
        timeout_keep_alive=60,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10 * IDLE_S)
    connection.connect()
    yield connection
    connection.close()
    server.should_exit = True
    thread.join(10)


def ask(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"hello"


def hung_up_s(connection: http.client.HTTPConnection) -> float:
    began = time.monotonic()
    assert connection.sock is not None
    assert connection.sock.recv(1) == b""
    return time.monotonic() - began


def test_one_that_was_used_may_be_idle_for_longer_than_a_head_may_take(served: http.client.HTTPConnection) -> None:
    ask(served)
    time.sleep(3 * HEAD_S)
    ask(served)
    time.sleep(3 * HEAD_S)
    ask(served)


def test_one_that_was_used_is_let_go_in_the_end(served: http.client.HTTPConnection) -> None:
    ask(served)
    assert hung_up_s(served) >= IDLE_S - 0.2


def test_one_that_says_nothing_is_let_go_at_once(served: http.client.HTTPConnection) -> None:
    assert hung_up_s(served) < IDLE_S


def test_a_head_that_begins_after_a_while_has_its_own_time(served: http.client.HTTPConnection) -> None:
    ask(served)
    time.sleep(3 * HEAD_S)
    assert served.sock is not None
    served.sock.sendall(b"GET / HTTP/1.1\r\n")
    time.sleep(HEAD_S / 3)
    served.sock.sendall(b"host: 127.0.0.1\r\n\r\n")
    assert served.sock.recv(100).startswith(b"HTTP/1.1 200 ")
