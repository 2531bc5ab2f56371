"""Several real servers behind a real gateway: one dies, is busy or takes no connection, and clients are served."""

import asyncio
import socket
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Send

from tests.llm_service.conftest import Start
from tests.llm_service.integration.conftest import Serve, nobody, said, saying, table, text, write
from tests.llm_service.wire import HELLO, SOON_S, post, sdk, until
from tests.support.live import free_port, live
from tests.support.unruly_llm import END, FIRST, UnrulyLlm, answer, die, stream


async def hangs_up_at_the_first_byte(send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream"), (b"content-length", b"1000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    raise ConnectionAbortedError("the model's process was killed")


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        die,
        answer(500, {"error": {"message": "CUDA error"}}),
        answer(503, {"detail": "loading"}),
        answer(502, b"<html>nginx</html>"),
        answer(408, {}),
        answer(429, {"error": {"message": "slow down"}}, {"retry-after": "60"}),
        hangs_up_at_the_first_byte,
        None,  # nobody listens
    ],
)
async def test_a_client_does_not_notice_that_a_backend_fails(
    start: Start, serve: Serve, file: Path, fault: Any, is_stream: bool
) -> None:
    good = stream(FIRST, END) if is_stream else answer(200, saying("a"))
    bad_url = nobody() if fault is None else serve(UnrulyLlm([fault]))
    write(file, table("bad", bad_url, models=["m"]), table("good", serve(UnrulyLlm([good])), priority=1))
    url = start(None, llm_backends_file=file)
    client = sdk(url)
    took_s = []
    for _ in range(10):
        began = time.monotonic()
        if is_stream:
            events = await client.chat.completions.create(model="m", messages=HELLO, stream=True)  # type: ignore[call-overload]
            words = [chunk.choices[0].delta.content async for chunk in events]
            assert words == ["a", "a"]
        else:
            whole = await client.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
            assert whole.choices[0].message.content == "a"
        took_s.append(time.monotonic() - began)
    assert statistics.median(took_s) < 1

    async def is_counted() -> bool:  # a stream is, a moment after its last byte
        return 'llm_requests_total{backend="good",model="m",outcome="ok"} 10.0' in await text(url + "/metrics")

    await until(is_counted)
    assert 'llm_retries_total{backend="bad"' in await text(url + "/metrics")


async def test_a_hundred_requests_at_once_survive_the_death_of_one_of_two_servers(
    start: Start, serve: Serve, file: Path
) -> None:
    dies = UnrulyLlm([answer(200, saying("a"))] * 10 + [die])
    stays = UnrulyLlm([answer(200, saying("a"))])
    write(file, table("dies", serve(dies)), table("stays", serve(stays)))
    url = start(None, llm_backends_file=file)
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=4)) as http:
        body = {"model": "m", "messages": HELLO}
        answers = await asyncio.gather(*(http.post(url + "/v1/chat/completions", json=body) for _ in range(100)))
    assert Counter(response.status_code for response in answers) == {200: 100}
    assert dies.calls <= 10 + 8  # five failures, and what was already on its way at the fifth


async def test_while_all_backends_are_busy_clients_hear_at_once_how_long_to_wait(
    start: Start, serve: Serve, file: Path
) -> None:
    later = answer(429, {"error": {"message": "MY SECRET PROMPT"}}, {"retry-after": "70"})
    date = {"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)}
    busy = [UnrulyLlm([later]), UnrulyLlm([answer(429, {"error": {"message": "MY SECRET PROMPT"}}, date)])]
    write(file, table("a", serve(busy[0])), table("b", serve(busy[1]), priority=1))
    url = start(None, llm_backends_file=file)
    first = await post(url)
    assert (first.status_code, first.json()["error"]["message"]) == (429, "MY SECRET PROMPT")  # its own
    second = await post(url)
    assert second.status_code == 429
    assert 20 <= int(second.headers["retry-after"]) <= 50  # the date's, less what has passed
    assert "MY SECRET" not in second.text
    assert [server.calls for server in busy] == [1, 1]


async def test_a_stream_that_breaks_after_its_first_byte_is_not_begun_again_elsewhere(
    start: Start, serve: Serve, file: Path
) -> None:
    other = UnrulyLlm([stream(FIRST, END)])
    write(
        file,
        table("breaks", serve(UnrulyLlm([stream(FIRST, ending="dies")]))),
        table("other", serve(other), priority=1),
    )
    response = await post(start(None, llm_backends_file=file), stream=True)
    assert response.text.count('"content":"a"') == 1
    assert '"error"' in response.text
    assert "[DONE]" not in response.text
    assert other.calls == 0


async def test_the_second_priority_serves_until_the_first_is_back(start: Start, serve: Serve, file: Path) -> None:
    port = free_port()
    first = UnrulyLlm([answer(200, saying("first"))])
    write(
        file,
        table("first", f"http://127.0.0.1:{port}/v1", models=["m"]),
        table("second", serve(UnrulyLlm([answer(200, saying("second"))])), priority=1),
    )
    url = start(None, llm_backends_file=file)
    assert {await said(url) for _ in range(8)} == {"second"}
    with live(first, port):

        async def is_back() -> bool:
            return await said(url) == "first"

        await until(is_back)
        assert {await said(url) for _ in range(8)} == {"first"}
    assert {await said(url) for _ in range(8)} == {"second"}


# --- a server that takes no connection ----------------------------------------------------------------------------


@contextmanager
def full_backlog() -> Iterator[str]:
    """A socket that listens and whose queue is full: connecting to it takes for ever, as to a machine that is off."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


async def test_a_connection_that_does_not_come_about_is_a_504_of_its_own(start: Start, file: Path) -> None:
    with full_backlog() as address:
        write(file, table("off", address, models=["m"]))
        url = start(None, llm_backends_file=file, llm_connect_timeout_s=0.3, llm_max_retries=1)
        began = time.monotonic()
        response = await post(url)
        took_s = time.monotonic() - began
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (504, "timeout")
    assert "took no connection within LLM_CONNECT_TIMEOUT_S (0.3 s)" in error["message"]
    assert address in error["message"]
    assert 2 * 0.3 + 0.25 <= took_s < SOON_S  # it was tried twice


async def test_another_server_is_asked_where_one_takes_no_connection(start: Start, serve: Serve, file: Path) -> None:
    good = serve(UnrulyLlm([answer(200, saying("good"))]))
    with full_backlog() as address:
        write(file, table("off", address, models=["m"]), table("good", good, models=["m"], priority=1))
        url = start(None, llm_backends_file=file, llm_connect_timeout_s=1.0)
        began = time.monotonic()
        assert await said(url) == "good"
        assert 1.0 <= time.monotonic() - began < SOON_S
