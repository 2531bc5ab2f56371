"""Two hundred clients leave at once, from wherever they can be: the upstream's work stops, and nothing is kept."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.llm_service.processes import Gateway, gateway
from tests.llm_service.wire import (
    HALF,
    ask_bytes,
    connect,
    metrics,
    post,
    quickest,
    raw_answer,
    request_bytes,
    settled,
    until,
)
from tests.support.live import live
from tests.support.unruly_llm import FIRST, UnrulyLlm, hang, stream

MANY = 200


@contextlib.contextmanager
def before(play: Any, folder: Path, **environment: Any) -> Iterator[tuple[Gateway, UnrulyLlm, Callable[[], int]]]:
    """A gateway as a process, an upstream, and how many connections are between them."""
    upstream = UnrulyLlm([play])
    with live(upstream) as address, gateway(folder, llm_base_url=address + "/v1", **environment) as running:
        port = httpx.URL(address).port
        assert port is not None
        yield running, upstream, lambda: running.sockets_to(port)


async def come_and_go(url: str, sent: bytes, count: int, are_there: Callable[[], Any], wait_for: bytes = b"") -> float:
    """So many send the same, and all leave once they are where they should be. Returns the time at which they began to.

    wait_for: what each must have read before.
    """
    writers = []
    for _ in range(count):
        reader, writer = await connect(url)
        writer.write(sent)
        writers.append(writer)
        if wait_for:
            await reader.readuntil(wait_for)
    await until(are_there, what="all at their places")
    left_at = time.monotonic()
    for writer in writers:
        writer.close()
    return left_at


@pytest.mark.parametrize(
    ("play", "is_stream", "wait_for"),
    [
        pytest.param(hang, False, b"", id="in a plain call"),
        pytest.param(hang, True, b"", id="before the upstream's headers"),
        pytest.param(stream(ending="hangs"), True, b"", id="between headers and first token"),
        pytest.param(stream(FIRST, ending="hangs"), True, FIRST, id="in a silent stream"),
        pytest.param(stream(FIRST, *[0.05, FIRST] * 3000), True, FIRST, id="in a talking stream"),
    ],
)
async def test_200_departures_leave_nothing_at_the_upstream_and_one_is_noticed_in_half_a_second(
    tmp_path: Path, play: Any, is_stream: bool, wait_for: bytes
) -> None:
    with before(play, tmp_path) as (running, upstream, connections):
        await post(running.url, model="unknown")  # what is read once, is read
        idle, descriptors = connections(), running.descriptors()
        sent = ask_bytes(stream=is_stream)

        async def nothing_is_left() -> None:
            await until(lambda: connections() <= idle, what="no connection to the upstream")
            await until(lambda: upstream.active == 0, what="the upstream's work stopped")

        await come_and_go(running.url, sent, MANY, lambda: upstream.active == MANY, wait_for)
        await nothing_is_left()  # of a thing that is not let go, the upstream's plays would hold it for minutes
        assert upstream.calls == MANY

        async def one_leaves() -> float:
            left_at = await come_and_go(running.url, sent, 1, lambda: upstream.active == 1, wait_for)
            await nothing_is_left()
            return time.monotonic() - left_at

        assert await quickest(one_leaves, 0.5) < 0.5
        seen = await settled(running.url)
        for gauge in ("llm_requests_in_work", "llm_requests_queued", "llm_backend_in_flight"):
            assert seen.value(gauge) == 0
        assert seen.value("llm_requests_total", outcome="client_left") == upstream.calls
        await until(lambda: running.descriptors() <= descriptors + 3, what="the descriptors back")
        assert "Traceback" not in running.log
        assert "never retrieved" not in running.log


async def test_200_departures_from_the_queue_and_from_half_sent_bodies_ask_nothing(tmp_path: Path) -> None:
    with before(hang, tmp_path, llm_max_concurrent_requests=1, llm_queue_timeout_s=300) as (running, upstream, _):
        url = running.url
        descriptors = running.descriptors()
        first = asyncio.create_task(post(url))
        await until(lambda: upstream.active == 1)

        async def all_wait() -> bool:
            return (await settled_but(url, 1 + MANY)).value("llm_requests_queued") == MANY

        await come_and_go(url, ask_bytes(), MANY, all_wait)

        async def none_waits() -> bool:
            return (await settled_but(url, 1)).value("llm_requests_queued") == 0

        await until(none_waits)  # who stayed there would for five minutes

        left: list[float] = []

        async def one_leaves() -> float:
            async def one_waits() -> bool:
                return (await settled_but(url, 2)).value("llm_requests_queued") == 1

            left_at = await come_and_go(url, ask_bytes(), 1, one_waits)
            left.append(left_at)
            await until(none_waits)
            return time.monotonic() - left_at

        assert await quickest(one_leaves, 0.5) < 0.5

        async def all_are_there() -> bool:
            return (await settled_but(url, 1 + MANY)).value("http_requests_in_flight") == 2 + MANY

        await come_and_go(url, HALF, MANY, all_are_there)
        assert (await settled_but(url, 1)).value("llm_requests_in_work") == 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        seen = await settled(url)
        assert upstream.calls == 1
        assert seen.value("llm_requests_in_work") == 0
        assert seen.value("http_requests_total", status="499") == 1 + 2 * MANY + len(left)
        await until(lambda: running.descriptors() <= descriptors + 3, what="the descriptors back")
        # The budget of bodies has them back, too: one as large as all of it is taken.
        assert (await raw_answer(url, request_bytes(b"{" * 9_000_000)))[0] == 400


async def settled_but(url: str, others: int) -> Any:
    """The metrics once so many requests beside the scrape are in flight."""
    seen = [await metrics(url)]

    async def are_so_many() -> bool:
        seen.append(await metrics(url))
        return seen[-1].value("http_requests_in_flight") == 1 + others

    await until(are_so_many, what=f"{others} requests in flight")
    return seen[-1]


async def test_who_closes_one_half_of_his_connection_is_taken_for_gone(tmp_path: Path) -> None:
    with before(hang, tmp_path) as (running, upstream, _):

        async def noticed_s() -> float:
            reader, writer = await connect(running.url)
            writer.write(ask_bytes(stream=True))
            await until(lambda: upstream.active == 1)
            writer.write_eof()
            took_s = await until(lambda: upstream.active == 0)
            assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()
            return took_s

        assert await quickest(noticed_s, 0.5) < 0.5
        assert (await settled(running.url)).value("llm_requests_in_work") == 0


@pytest.mark.parametrize("late", [False, True])
async def test_who_sends_a_second_request_behind_the_first_and_leaves_is_noticed(tmp_path: Path, late: bool) -> None:
    """Found here: until the first was answered nothing was read, and so not that he had gone."""
    with before(hang, tmp_path) as (running, upstream, _):
        tried_s = []

        async def noticed_s() -> float:
            _, writer = await connect(running.url)
            writer.write(ask_bytes() if late else ask_bytes() * 2)
            await until(lambda: upstream.active == 1)
            if late:
                writer.write(ask_bytes())
                await asyncio.sleep(0.1)
            writer.close()
            tried_s.append(await until(lambda: upstream.active == 0))
            return tried_s[-1]

        assert await quickest(noticed_s, 0.5) < 0.5
        assert (await settled(running.url)).value("llm_requests_in_work") == 0
        assert upstream.calls == len(tried_s)  # the second is never asked
