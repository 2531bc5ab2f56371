"""Several real servers behind a real gateway: what clients and operators see when some fail, or the file changes."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from openai import AsyncOpenAI
from starlette.types import ASGIApp, Send

from tests.llm_service.conftest import Start
from tests.support.live import free_port, live
from tests.support.scripted_llm import ScriptedLlm
from tests.support.unruly_llm import END, FIRST, UnrulyLlm, answer, die, stream

HELLO = [{"role": "user", "content": "hello"}]


def saying(word: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": word}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }


async def hangs_up_at_the_first_byte(send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream"), (b"content-length", b"1000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    raise ConnectionAbortedError("the model's process was killed")


Serve = Callable[[ASGIApp], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(app) -> the base URL of a server that runs until the test's end."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(live(app)) + "/v1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "backends.toml"


def table(name: str, url: str, **fields: Any) -> str:
    """A backend as the file has it; numbers and lists of strings are written alike in TOML and in Python."""
    lines = "".join(
        f"{key} = {str(value).lower() if value is True else repr(value)}\n" for key, value in fields.items()
    )
    return f'[[backend]]\nname = "{name}"\nbase_url = "{url}"\n{lines}\n'


def write(file: Path, *tables: str) -> None:
    """As an editor does: whole, by renaming."""
    other = file.with_suffix(".new")
    other.write_text("".join(tables))
    other.replace(file)


def nobody() -> str:
    return f"http://127.0.0.1:{free_port()}/v1"


async def post(url: str, **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as http:
        return await http.post(url + "/v1/chat/completions", json={"model": "m", "messages": HELLO, **body})


async def said(url: str, model: str = "m") -> str:
    response = await post(url, model=model)
    assert response.status_code == 200, response.text
    word: str = response.json()["choices"][0]["message"]["content"]
    return word


async def text(url: str) -> str:
    async with httpx.AsyncClient(timeout=20) as http:
        return (await http.get(url)).text


async def get(url: str) -> Any:
    return orjson.loads(await text(url))


async def checks(url: str) -> dict[str, tuple[bool, str]]:
    return {check["name"]: (check["ok"], check["detail"]) for check in (await get(url + "/readyz"))["checks"]}


async def until(holds: Callable[[], Any], within_s: float = 5.0) -> float:
    """Seconds until it came to hold."""
    begun = time.monotonic()
    while not await holds():
        assert time.monotonic() - begun < within_s, f"it did not come to hold within {within_s} s"
        await asyncio.sleep(0.05)
    return time.monotonic() - begun


# --- a fault that nobody sees -------------------------------------------------------------------------------------


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
    client = AsyncOpenAI(base_url=url + "/v1", api_key="k", max_retries=0)
    for _ in range(10):
        began = time.monotonic()
        if is_stream:
            events = await client.chat.completions.create(model="m", messages=HELLO, stream=True)  # type: ignore[call-overload]
            words = [chunk.choices[0].delta.content async for chunk in events]
            assert words == ["a", "a"]
        else:
            whole = await client.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
            assert whole.choices[0].message.content == "a"
        assert time.monotonic() - began < 1

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
    async with httpx.AsyncClient(timeout=20, limits=httpx.Limits(max_connections=4)) as http:
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
    assert 45 <= int(second.headers["retry-after"]) <= 50
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
    assert 2 * 0.3 + 0.25 <= took_s < 3  # it was tried twice


async def test_another_server_is_asked_where_one_takes_no_connection(start: Start, serve: Serve, file: Path) -> None:
    good = serve(UnrulyLlm([answer(200, saying("good"))]))
    with full_backlog() as address:
        write(file, table("off", address, models=["m"]), table("good", good, models=["m"], priority=1))
        url = start(None, llm_backends_file=file, llm_connect_timeout_s=0.3)
        began = time.monotonic()
        assert await said(url) == "good"
        assert 0.3 <= time.monotonic() - began < 2


# --- what operators see -------------------------------------------------------------------------------------------


async def test_readyz_says_of_each_backend_whether_it_is_usable_and_why_not(
    start: Start, serve: Serve, file: Path
) -> None:
    cools = UnrulyLlm([answer(429, {"error": {"message": "slow"}}, {"retry-after": "50"})], models=["busy"])
    refuses = UnrulyLlm([answer(401, {"error": "Unauthorized"})], models=["locked"])
    fails = UnrulyLlm([answer(500, {"error": {"message": "MY SECRET PROMPT"}})], models=["broken"])
    gone = nobody()
    write(
        file,
        table("gone", gone),
        table("cools", serve(cools)),
        table("refuses", serve(refuses), key_file=str(file.with_name("key"))),
        table("fails", serve(fails)),
        table("good", serve(UnrulyLlm([answer(200, saying("good"))]))),
    )
    file.with_name("key").write_text("sk-planted")
    url = start(None, llm_backends_file=file, llm_max_retries=0)
    before = await checks(url)
    assert [before[f"backend {name}"][0] for name in ("gone", "cools", "refuses", "fails", "good")] == [
        False,
        True,
        True,
        True,
        True,
    ]
    assert before["backends"] == (True, "4 of 5 are usable")
    statuses = [(await post(url, model=name)).status_code for name in ("busy", "locked", *["broken"] * 5)]
    assert statuses == [429, 502] + [502] * 5
    async with httpx.AsyncClient() as http:
        response = await http.get(url + "/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "ready")
    assert "MY SECRET PROMPT" not in response.text
    assert "sk-planted" not in response.text
    told = await checks(url)
    assert told["backends"] == (True, "1 of 5 are usable")
    assert gone in told["backend gone"][1]
    assert "cannot be reached" in told["backend gone"][1]
    assert "cooling, asked again in" in told["backend cools"][1]
    assert f"refused the key (401); check {file.with_name('key')}" in told["backend refuses"][1]
    assert "answered 500 (open, asked again in" in told["backend fails"][1]
    assert told["backend good"][0]


async def test_readyz_is_not_ready_while_no_backend_is_usable_and_soon_after_one_is(start: Start, file: Path) -> None:
    port = free_port()
    write(file, table("gone", nobody()), table("comes", f"http://127.0.0.1:{port}/v1"))
    url = start(None, llm_backends_file=file)
    async with httpx.AsyncClient() as http:
        assert (await http.get(url + "/readyz")).status_code == 503
        with live(UnrulyLlm([answer(200, saying("x"))]), port):

            async def is_ready() -> bool:
                return (await http.get(url + "/readyz")).status_code == 200

            assert await until(is_ready) < 4


async def test_models_are_those_of_all_backends_with_the_aliases(start: Start, serve: Serve, file: Path) -> None:
    write(
        file,
        table("a", serve(UnrulyLlm([die], models=["x", "both"]))),
        table("b", serve(UnrulyLlm([die], models=["both", "y"]))) + 'aliases = {quick = "y"}\n',
        table("gone", nobody(), models=["z"]),
    )
    url = start(None, llm_backends_file=file)
    listed = (await get(url + "/v1/models"))["data"]
    assert [model["id"] for model in listed] == ["x", "both", "y", "quick", "z"]
    assert (await get(url + "/v1/models/quick"))["root"] == "y"


async def test_an_alias_is_another_name_at_each_backend_and_the_answer_says_which(
    start: Start, serve: Serve, file: Path
) -> None:
    llm = ScriptedLlm(model="org/qwen")
    write(file, table("a", serve(llm.app())) + 'aliases = {"gpt-4o-mini" = "org/qwen"}\n')
    response = await post(start(None, llm_backends_file=file), model="gpt-4o-mini")
    assert llm.requests[0]["model"] == "org/qwen"
    assert response.json()["model"] == "org/qwen"


# --- another file -------------------------------------------------------------------------------------------------


async def test_a_changed_file_is_in_force_within_seconds(start: Start, serve: Serve, file: Path) -> None:
    old, new = (serve(UnrulyLlm([answer(200, saying(word))])) for word in ("old", "new"))
    write(file, table("old", old))
    url = start(None, llm_backends_file=file)
    assert await said(url) == "old"
    write(file, table("new", new))

    async def is_new() -> bool:
        return await said(url) == "new"

    assert await until(is_new) < 4
    assert list(await checks(url)) == ["backends", "backend new"]


async def test_requests_in_flight_end_where_they_began(start: Start, serve: Serve, file: Path) -> None:
    slow = UnrulyLlm([stream(FIRST, 4.0, END)])
    write(file, table("slow", serve(slow)))
    url = start(None, llm_backends_file=file)
    running = [asyncio.create_task(post(url, stream=True)) for _ in range(5)]
    await asyncio.sleep(0.3)
    write(file, table("new", serve(UnrulyLlm([answer(200, saying("new"))]))))

    async def is_new() -> bool:
        return list(await checks(url)) == ["backends", "backend new"]

    await until(is_new)
    assert slow.active == 5  # they still run
    assert await said(url) == "new"
    for response in await asyncio.gather(*running):
        assert response.text.endswith("data: [DONE]\n\n")
        assert '"error"' not in response.text


@pytest.mark.parametrize(
    "change",
    [
        lambda file: write(file, "[[backend"),
        lambda file: write(file, '[[backend]]\nname = "a"\nkey = "sk-planted"'),
        lambda file: write(file, ""),
        lambda file: file.unlink(),
    ],
    ids=["no TOML", "a key in it", "empty", "gone"],
)
async def test_a_bad_file_keeps_the_old_one_says_so_and_a_good_one_heals_it(
    start: Start, serve: Serve, file: Path, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    old, new = (serve(UnrulyLlm([answer(200, saying(word))])) for word in ("old", "new"))
    write(file, table("old", old))
    url = start(None, llm_backends_file=file)
    assert await said(url) == "old"
    with caplog.at_level(logging.WARNING, "llm_service.watched"):
        change(file)

        async def is_told() -> bool:
            return "configuration" in await checks(url)

        await until(is_told)
    ok, detail = (await checks(url))["configuration"]
    assert not ok
    assert str(file) in detail
    assert "stays in force" in detail
    assert [record.getMessage() for record in caplog.records if record.name == "llm_service.watched"] == [detail]
    assert "sk-planted" not in detail + caplog.text
    assert (await get(url + "/readyz"))["status"] == "ready"
    assert await said(url) == "old"
    write(file, table("new", new))

    async def is_healed() -> bool:
        return "configuration" not in await checks(url)

    await until(is_healed)
    assert await said(url) == "new"


async def test_a_key_that_is_rotated_in_its_file_is_used_without_a_restart(
    start: Start, serve: Serve, file: Path
) -> None:
    llm, key = ScriptedLlm(model="m"), file.with_name("key")
    key.write_text("sk-old\n")
    write(file, table("a", serve(llm.app()), key_file=str(key)))
    url = start(None, llm_backends_file=file)
    await said(url, "m")
    assert llm.headers[-1]["authorization"] == "Bearer sk-old"
    key.with_suffix(".new").write_text("sk-new\n")
    key.with_suffix(".new").replace(key)

    async def is_rotated() -> bool:
        await said(url, "m")
        return llm.headers[-1]["authorization"] == "Bearer sk-new"

    assert await until(is_rotated) < 4


async def test_a_key_that_was_refused_works_as_soon_as_its_file_holds_the_right_one(
    start: Start, serve: Serve, file: Path
) -> None:
    key = file.with_name("key")

    async def upstream(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            is_right = dict(scope["headers"]).get(b"authorization") == b"Bearer sk-right"
            await (answer(200, saying("hi")) if is_right else answer(401, {"error": "Unauthorized"}))(send)

    key.write_text("sk-wrong\n")
    write(file, table("a", serve(upstream), key_file=str(key), models=["m"]))
    url = start(None, llm_backends_file=file)
    refused = await post(url)
    assert refused.status_code == 502
    assert str(key) in refused.text
    assert "sk-wrong" not in refused.text
    assert not (await checks(url))["backends"][0]
    key.write_text("sk-right\n")

    async def is_right() -> bool:
        return (await post(url)).status_code == 200

    assert await until(is_right) < 4


# --- a real process -----------------------------------------------------------------------------------------------


def environment(**variables: str) -> dict[str, str]:
    """The variables of a process that runs the code beside this file."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **variables}


class Process:
    """`python -m llm_service` with these variables, and all that it logs."""

    def __init__(self, folder: Path, **variables: str):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "llm_service"],
            env=environment(LLM_PORT=str(port), **variables),
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        self.log.extend(self._process.stderr)

    def __enter__(self) -> "Process":
        deadline = time.monotonic() + 30
        while True:
            try:
                assert httpx.get(self.url + "/healthz").status_code == 200
                return self
            except httpx.TransportError:
                assert self._process.poll() is None, "".join(self.log)
                assert time.monotonic() < deadline, "it did not start within 30 s"
                time.sleep(0.05)

    def hang_up(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait(15)
        self._reader.join(5)


async def test_sighup_reads_the_file_at_once(serve: Serve, file: Path) -> None:
    words = ["one", "two", "three", "four"]
    servers = [serve(UnrulyLlm([answer(200, saying(word))])) for word in words]
    write(file, table("one", servers[0]))
    with Process(file.parent, LLM_BACKENDS_FILE=str(file)) as process:
        assert await said(process.url) == "one"
        # Without it a change would be seen within two seconds: that three are seen in 0.3 s each is no accident.
        for word, server in zip(words[1:], servers[1:], strict=True):
            write(file, table(word, server))
            process.hang_up()
            await asyncio.sleep(0.3)
            assert await said(process.url) == word
        write(file, "[[backend")
        process.hang_up()
        await asyncio.sleep(0.3)
        assert await said(process.url) == "four"
        assert not (await checks(process.url))["configuration"][0]
    told = [line for line in process.log if "stays in force" in line]
    assert len(told) == 1
    assert str(file) in told[0]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"LLM_BACKENDS_FILE": "nowhere.toml"}, ["cannot read nowhere.toml"]),
        ({"LLM_BACKENDS": "[{"}, ["LLM_BACKENDS is not JSON"]),
        ({"LLM_BASE_URL": "http://me:sk-planted@gpu/v1"}, ["LLM_BASE_URL must not hold a password"]),
        ({"LLM_BASE_URL": "http://gpu/v1", "LLM_UPSTREAM_API_KEY": "sk planted"}, ["LLM_UPSTREAM_API_KEY holds"]),
        ({"LLM_MAX_RETRIES": "sk-planted"}, ["LLM_MAX_RETRIES"]),
    ],
)
def test_what_is_wrong_at_the_start_is_told_in_words(
    tmp_path: Path, variables: dict[str, str], words: Sequence[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llm_service"],
        env=environment(LLM_PORT=str(free_port()), **variables),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("llm_service cannot start: ")
    assert all(word in done.stderr for word in words)
    assert "Traceback" not in done.stderr
    assert "planted" not in done.stderr
