"""A client that leaves must stop the upstream's work, in whatever phase it leaves."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.llm_service.conftest import Start
from tests.llm_service.wire import post, quickest, settled, until
from tests.support.unruly_llm import FIRST, UnrulyLlm, flood, hang, stream

HELLO = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("play", "is_stream"),
    [
        pytest.param(hang, False, id="in a plain call"),
        pytest.param(hang, True, id="before the upstream's headers"),
        pytest.param(stream(ending="hangs"), True, id="between headers and first token"),
        pytest.param(stream(FIRST, ending="hangs"), True, id="in a silent stream"),
        pytest.param(flood, True, id="in a busy stream"),
    ],
)
async def test_fifty_departures_leave_no_upstream_connection(start: Start, play: Any, is_stream: bool) -> None:
    upstream = UnrulyLlm([play])
    url = start(upstream)

    async def call(http: httpx.AsyncClient) -> None:
        body = {"model": "m", "messages": HELLO, "stream": is_stream}
        async with http.stream("POST", url + "/v1/chat/completions", json=body) as response:
            pieces = response.aiter_raw()  # held: httpx closes the connection with its iterator
            await anext(pieces)
            await asyncio.sleep(60)

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=60)) as http:
        calls = [asyncio.create_task(call(http)) for _ in range(50)]
        await until(lambda: upstream.calls == 50 and upstream.active == 50)
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    await until(lambda: upstream.active == 0)
    metrics = (await settled(url)).text
    assert 'llm_requests_total{backend="default",model="m",outcome="client_left"} 50.0' in metrics
    assert 'http_requests_total{method="POST",route="/v1/chat/completions",status="499"} 50.0' in metrics


async def test_one_departure_is_noticed_within_half_a_second(start: Start) -> None:
    upstream = UnrulyLlm([hang])
    url = start(upstream)

    async def noticed_s() -> float:
        asking = asyncio.create_task(post(url, stream=True))
        await until(lambda: upstream.active == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        return await until(lambda: upstream.active == 0)

    assert await quickest(noticed_s, 0.5) < 0.5


async def test_a_client_that_leaves_while_it_sends_its_body_asks_nothing(start: Start) -> None:
    upstream = UnrulyLlm([hang])
    url = httpx.URL(start(upstream))
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{")
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    await writer.wait_closed()
    metrics = (await settled(str(url).rstrip("/"))).text
    assert 'route="/v1/chat/completions",status="499"} 1.0' in metrics
    assert upstream.calls == 0


async def test_a_client_that_never_reads_on_is_let_go(start: Start) -> None:
    upstream = UnrulyLlm([flood])
    url = start(upstream, llm_idle_timeout_s=0.3)
    body = {"model": "m", "messages": HELLO, "stream": True}
    async with httpx.AsyncClient() as http, http.stream("POST", url + "/v1/chat/completions", json=body) as response:
        pieces = response.aiter_raw()
        await anext(pieces)
        await until(lambda: upstream.active == 0)
    assert 'llm_requests_total{backend="default",model="m",outcome="client_left"} 1.0' in (await settled(url)).text


async def test_a_client_that_does_not_read_slows_the_upstream_down(start: Start) -> None:
    upstream = UnrulyLlm([flood])
    url = start(upstream)
    body = {"model": "m", "messages": HELLO, "stream": True}
    async with httpx.AsyncClient() as http, http.stream("POST", url + "/v1/chat/completions", json=body) as response:
        pieces = response.aiter_raw()
        await anext(pieces)
        sent = [0]

        async def is_held_up() -> bool:
            await asyncio.sleep(0.5)
            sent.append(upstream.sent_bytes)
            return sent[-1] - sent[-2] < 2_000_000  # unhindered it sends hundreds of megabytes a second

        await until(is_held_up)
        assert sent[-1] < 50_000_000
