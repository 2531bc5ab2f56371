"""The file of backends changes under a running gateway, is wrong, or was wrong at the start; and so with keys."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.llm_service.conftest import Start
from tests.llm_service.integration.conftest import Serve, checks, get, said, saying, table, write
from tests.llm_service.wire import post, until
from tests.support.live import free_port
from tests.support.scripted_llm import ScriptedLlm
from tests.support.unruly_llm import END, FIRST, UnrulyLlm, answer, stream


async def test_a_changed_file_is_in_force_within_seconds(start: Start, serve: Serve, file: Path) -> None:
    old, new = (serve(UnrulyLlm([answer(200, saying(word))])) for word in ("old", "new"))
    write(file, table("old", old))
    url = start(None, llm_backends_file=file)
    assert await said(url) == "old"
    write(file, table("new", new))

    async def is_new() -> bool:
        return await said(url) == "new"

    await until(is_new)
    assert list(await checks(url)) == ["backends", "backend new"]


async def test_requests_in_flight_end_where_they_began(start: Start, serve: Serve, file: Path) -> None:
    may_end = threading.Event()
    slow = UnrulyLlm([stream(FIRST, may_end, END)])
    write(file, table("slow", serve(slow)))
    url = start(None, llm_backends_file=file)
    running = [asyncio.create_task(post(url, stream=True)) for _ in range(5)]
    await until(lambda: slow.active == 5)
    write(file, table("new", serve(UnrulyLlm([answer(200, saying("new"))]))))

    async def is_new() -> bool:
        return list(await checks(url)) == ["backends", "backend new"]

    await until(is_new)
    assert slow.active == 5  # they still run
    assert await said(url) == "new"
    may_end.set()
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

    await until(is_rotated)


async def test_a_key_that_is_put_into_an_empty_file_is_used_without_a_restart(start: Start, file: Path) -> None:
    llm, key = ScriptedLlm(model="m"), file.with_name("key")
    key.touch()
    url = start(llm.app(), llm_upstream_api_key_file=key)
    await said(url, "m")
    assert "sk-" not in llm.headers[-1].get("authorization", "")
    key.write_text("sk-new\n")

    async def is_used() -> bool:
        await said(url, "m")
        return llm.headers[-1].get("authorization") == "Bearer sk-new"

    assert await until(is_used) < 20  # the file is looked at every two seconds


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

    await until(is_right)


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
        self._process.wait(60)
        self._reader.join(30)


async def test_sighup_reads_the_file_at_once(serve: Serve, file: Path) -> None:
    words = ["one", "two", "three", "four", "five"]
    servers = [serve(UnrulyLlm([answer(200, saying(word))])) for word in words]
    write(file, table("one", servers[0]))
    with Process(file.parent, LLM_BACKENDS_FILE=str(file)) as process:
        assert await said(process.url) == "one"
        took_s = []
        for word, server in zip(words[1:], servers[1:], strict=True):
            write(file, table(word, server))
            process.hang_up()

            async def is_read(word: str = word) -> bool:
                return await said(process.url) == word

            took_s.append(await until(is_read))
        # Without it each change but the first, which is written just after a look, would wait two seconds for the next.
        assert min(took_s[1:]) < 1
        write(file, "[[backend")
        process.hang_up()

        async def is_told() -> bool:
            return "configuration" in await checks(process.url)

        await until(is_told)
        assert await said(process.url) == "five"
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
