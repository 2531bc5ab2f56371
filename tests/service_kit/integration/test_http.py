"""The outgoing client against a real peer: each failure becomes its word."""

import asyncio
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response

from service_kit.context import request_id
from service_kit.errors import DeadlineExceeded, NotFound, Overloaded, Unavailable, Upstream, ValidationFailed
from service_kit.http import OutgoingClient
from tests.support.live import free_port, live


class Peer:
    def __init__(self) -> None:
        self.calls = 0
        self.seen_ids: list[str] = []

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/echo")
        async def echo(request: Request) -> Response:
            self.seen_ids.append(request.headers["x-request-id"])
            return Response(await request.body(), media_type="application/json")

        @app.get("/status/{status}")
        async def status(status: int) -> Response:
            self.calls += 1
            return Response("because", status, {"retry-after": "7"})

        @app.get("/recovers")
        async def recovers() -> Response:
            self.calls += 1
            return Response("true", 503 if self.calls == 1 else 200)

        @app.get("/slow")
        async def slow() -> None:
            await asyncio.sleep(60)

        @app.get("/html")
        async def html() -> Response:
            return Response("<html>")

        @app.delete("/nothing")
        async def nothing() -> Response:
            return Response(status_code=204)

        return app


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def url(peer: Peer) -> Iterator[str]:
    with live(peer.app()) as address:
        yield address


def client_of(url: str) -> OutgoingClient:
    return OutgoingClient("the peer", url, setting="PEER_URL", deadline_s=30)


async def test_json_goes_out_and_comes_back_with_the_request_id(peer: Peer, url: str) -> None:
    token = request_id.set("travels")
    try:
        async with client_of(url) as client:
            assert await client.call("POST", "/echo", {"a": [1, 2]}) == {"a": [1, 2]}
    finally:
        request_id.reset(token)
    assert peer.seen_ids == ["travels"]


async def test_an_empty_answer_is_none(url: str) -> None:
    async with client_of(url) as client:
        assert await client.call("DELETE", "/nothing") is None


@pytest.mark.parametrize(("status", "error"), [(404, NotFound), (429, Overloaded), (500, Upstream), (400, Upstream)])
async def test_each_status_becomes_its_word_and_is_not_retried(
    peer: Peer, url: str, status: int, error: type[Exception]
) -> None:
    async with client_of(url) as client:
        with pytest.raises(error, match="because"):
            await client.call("GET", f"/status/{status}")
    assert peer.calls == 1


async def test_a_503_is_retried_once_and_then_told_with_its_retry_after(peer: Peer, url: str) -> None:
    async with client_of(url) as client:
        with pytest.raises(Unavailable) as caught:
            await client.call("GET", "/status/503")
    assert peer.calls == 2
    assert caught.value.retry_after_s == 7


async def test_a_call_that_must_not_be_repeated_is_not(peer: Peer, url: str) -> None:
    async with client_of(url) as client:
        with pytest.raises(Unavailable):
            await client.call("GET", "/status/503", is_idempotent=False)
    assert peer.calls == 1


async def test_a_restart_is_hidden_by_the_retry(peer: Peer, url: str) -> None:
    async with client_of(url) as client:
        assert await client.call("GET", "/recovers") is True
    assert peer.calls == 2


async def test_a_peer_that_is_not_there_is_named_with_its_setting() -> None:
    async with client_of(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(Unavailable, match="PEER_URL"):
            await client.call("GET", "/")


async def test_a_deadline_is_a_timeout_that_names_it(url: str) -> None:
    async with client_of(url) as client:
        with pytest.raises(DeadlineExceeded, match=r"0\.1 s"):
            await client.call("GET", "/slow", deadline_s=0.1)


async def test_an_answer_that_is_not_json_is_upstream(url: str) -> None:
    async with client_of(url) as client:
        with pytest.raises(Upstream, match="not JSON"):
            await client.call("GET", "/html")


async def test_a_closed_client_opens_again(url: str) -> None:
    client = client_of(url)
    await client.call("POST", "/echo", 1)
    await client.close()
    assert await client.call("POST", "/echo", 2) == 2
    await client.close()


async def test_half_a_surrogate_pair_is_the_callers_mistake_and_is_not_sent(url: str, peer: Peer) -> None:
    async with OutgoingClient("peer", url, setting="PEER_URL", deadline_s=30) as client:
        with pytest.raises(ValidationFailed, match="surrogate"):
            await client.call("POST", "/echo", {"text": "\ud800"})
        with pytest.raises(TypeError):  # our own bug stays one
            await client.call("POST", "/echo", {"text": object()})
    assert peer.seen_ids == []
