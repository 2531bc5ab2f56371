"""A client that leaves stops the model's work within half a second: of a real vLLM, by its own gauges."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest

from tests.llm_service.contract.conftest import LONG, MODELS, Gateway
from tests.llm_service.wire import quickest

pytestmark = pytest.mark.parametrize("gateway", MODELS, indirect=True)

IDLE, AT_WORK, QUEUED = (0, 0), (1, 0), (1, 1)
THINK_FIRST: Any = [{"role": "user", "content": "think first"}]


async def until_busy_is(gateway: Gateway, wanted: tuple[int, int]) -> float:
    """Seconds until the model is that busy; fails after 30."""
    started = time.monotonic()
    while (busy := await asyncio.to_thread(gateway.busy)) != wanted:
        assert time.monotonic() - started < 30, f"{busy} are running and waiting, not {wanted}"
        await asyncio.sleep(0.01)
    return time.monotonic() - started


@asynccontextmanager
async def asking(url: str, events: int, **body: Any) -> AsyncIterator[None]:
    """A client within its request, after so many pieces of its stream; at the end of the block it is gone."""
    has_begun = asyncio.Event()

    async def ask() -> None:
        headers = {"authorization": f"Bearer {body.pop('key', 'of-a-caller')}"}
        async with (
            httpx.AsyncClient(timeout=60) as http,
            http.stream("POST", url + "/v1/chat/completions", json=body, headers=headers) as response,
        ):
            seen = 0
            async for line in response.aiter_lines():
                seen += line.startswith("data: {")
                if seen >= events:
                    has_begun.set()

    task = asyncio.create_task(ask())
    try:
        if events:
            await asyncio.wait_for(has_begun.wait(), 30)
        yield
        assert not task.done(), "the answer came to its end before its client could leave"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_in_a_whole_answer(gateway: Gateway) -> None:
    async def idle_s() -> float:
        async with asking(gateway.url, 0, model=gateway.model, **LONG):
            await until_busy_is(gateway, AT_WORK)
        return await until_busy_is(gateway, IDLE)

    assert await quickest(idle_s, 0.5) < 0.5


async def test_within_the_stream(gateway: Gateway) -> None:
    async def idle_s() -> float:
        async with asking(gateway.url, 5, model=gateway.model, stream=True, **LONG):
            await until_busy_is(gateway, AT_WORK)
        return await until_busy_is(gateway, IDLE)

    assert await quickest(idle_s, 0.5) < 0.5


async def test_before_the_first_token(gateway: Gateway) -> None:
    async def idle_s() -> float:
        if gateway.vllm is None:
            async with asking(gateway.url, 0, model=gateway.model, messages=THINK_FIRST, stream=True):
                await until_busy_is(gateway, AT_WORK)
            return await until_busy_is(gateway, IDLE)
        # vLLM takes one request at a time here: while it answers another's, it has sent ours a status and nothing else.
        async with asking(gateway.vllm.url, 0, key=gateway.vllm.key, model=gateway.model, **LONG):
            await until_busy_is(gateway, AT_WORK)
            async with asking(gateway.url, 0, model=gateway.model, stream=True, **LONG):
                await until_busy_is(gateway, QUEUED)
            took_s = await until_busy_is(gateway, AT_WORK)
        await until_busy_is(gateway, IDLE)
        return took_s

    assert await quickest(idle_s, 0.5) < 0.5


async def test_a_client_that_stays_gets_its_whole_answer(gateway: Gateway) -> None:
    """What the others would pass without: a gateway that stops every answer."""
    async with httpx.AsyncClient(timeout=60) as http:
        body = {"model": gateway.model, "stream": True, **LONG}
        response = await http.post(gateway.url + "/v1/chat/completions", json=body)
    assert response.text.endswith("data: [DONE]\n\n")
    assert '"finish_reason":"length"' in response.text
