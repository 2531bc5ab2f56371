"""Planted keys and prompts come out nowhere: no log line, no metric, no readiness, no other caller's error."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_service.admission.keys import new_key
from llm_service.keys import stanza_of
from tests.llm_service.conftest import Start
from tests.llm_service.processes import gateway
from tests.llm_service.wire import CHAT, get, post, raw, request_bytes, settled
from tests.support.live import live
from tests.support.unruly_llm import FIRST, UnrulyLlm, answer, die, hang, stream

PROMPT = "kranichflug-7391"
UPSTREAM_KEY = "sk-upstream-4f1c9d"
SAID = "antwortgeheimnis-5520"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that was logged so far, at the level that says most, with tracebacks and extra fields.

    But not by the clients of these tests, which live in the same process, nor by uvicorn's access log, which a real
    process has turned off (the last test here is one).
    """
    caplog.set_level(logging.DEBUG)
    formatter = logging.Formatter()

    def lines() -> str:
        others = ("httpx", "httpcore", "openai", "uvicorn.access")
        ours = [record for record in caplog.records if not record.name.startswith(others)]
        return "\n".join(f"{formatter.format(record)} {vars(record)}" for record in ours)

    return lines


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, str, str]:
    """(the file, one caller's key, another's)."""
    one, other = new_key(), new_key()
    path = tmp_path / "keys.toml"
    path.write_text(stanza_of("one", one, None, None) + "\n" + stanza_of("other", other, None, None))
    return path, one, other


def quoting(status: int, **headers: str) -> Any:
    """A backend that says the caller's prompt and the operator's key in its error."""
    error = {"message": f"you said {PROMPT} with {UPSTREAM_KEY}", "code": status, "type": "BadRequestError"}
    return answer(status, {"error": error}, {name.replace("_", "-"): value for name, value in headers.items()})


def event(status: int) -> bytes:
    return (
        f'data: {{"error": {{"message": "you said {PROMPT} with {UPSTREAM_KEY}", "code": {status}}}}}\n\n'
        "data: [DONE]\n\n"
    ).encode()


TALK = FIRST.replace(b'"a"', f'"{SAID}"'.encode())

PLAYS = [
    pytest.param(quoting(400), id="400"),
    pytest.param(answer(422, {"detail": [{"loc": ["body"], "input": PROMPT}]}), id="422"),
    pytest.param(answer(400, f"bad: {PROMPT} {UPSTREAM_KEY}".encode()), id="400 in text"),
    pytest.param(quoting(401), id="401"),
    pytest.param(quoting(403), id="403"),
    pytest.param(quoting(404), id="404"),
    pytest.param(quoting(408), id="408"),
    pytest.param(quoting(429), id="429"),
    pytest.param(quoting(429, retry_after="3600"), id="429 for an hour"),
    pytest.param(quoting(500), id="500"),
    pytest.param(quoting(503, retry_after="1"), id="503"),
    pytest.param(answer(302, PROMPT.encode(), {"location": f"http://example.org/{PROMPT}"}), id="302"),
    pytest.param(answer(200, PROMPT.encode()), id="no JSON"),
    pytest.param(stream(event(400)), id="a 400 as the first event"),
    pytest.param(stream(event(500)), id="a 500 as the first event"),
    pytest.param(stream(TALK, 0.02, event(400)), id="a 400 in the stream"),
    pytest.param(stream(TALK, 0.02, event(500)), id="a 500 in the stream"),
    pytest.param(stream(TALK, 0.02, event(429)), id="a 429 in the stream"),
    pytest.param(stream(TALK, ending="dies"), id="a stream that dies"),
    pytest.param(stream(TALK, ending="clean"), id="a stream that ends too soon"),
    pytest.param(stream(TALK + f"data: {PROMPT}".encode(), ending="hangs"), id="a stream that falls silent"),
    pytest.param(die, id="no answer"),
    pytest.param(hang, id="silence"),
]


@pytest.mark.parametrize("play", PLAYS)
async def test_what_a_backend_quotes_is_told_to_its_caller_alone(
    start: Start, play: Any, logged: Any, keys: tuple[Path, str, str]
) -> None:
    path, one, other = keys
    url = start(
        UnrulyLlm([play]), llm_keys_file=path, llm_upstream_api_key=UPSTREAM_KEY, llm_max_retries=1,
        llm_total_timeout_s=0.15, llm_first_token_timeout_s=0.1, llm_idle_timeout_s=0.1,
    )  # fmt: skip
    told = ""
    for is_stream in (True, False) * 3:  # often enough for the breaker to open
        body = {"messages": [{"role": "user", "content": PROMPT}], "stream": is_stream}
        told += (await post(url, key=one, **body)).text
    counted = await settled(url)
    # The other one asks of another, while the backend rests, and then of what it says of itself.
    elsewhere = [(await get(url, where, other)).text for where in ("/readyz", "/v1/models", "/v1/models/x", "/version")]
    assert UPSTREAM_KEY not in told
    for secret in (PROMPT, SAID, UPSTREAM_KEY, one, other):
        assert secret not in logged()
        assert secret not in counted.text
        assert all(secret not in text for text in elsewhere)


@pytest.mark.usefixtures("rests_long")
@pytest.mark.parametrize("play", [quoting(500), quoting(503), quoting(429, retry_after="60"), stream(event(500))])
async def test_while_a_backend_rests_others_hear_nothing_of_whom_it_failed(
    start: Start, play: Any, logged: Any, keys: tuple[Path, str, str]
) -> None:
    path, one, other = keys
    upstream = UnrulyLlm([play])
    url = start(upstream, llm_keys_file=path, llm_upstream_api_key=UPSTREAM_KEY, llm_max_retries=0)
    for _ in range(5):
        told = await post(url, key=one, stream=True, messages=[{"role": "user", "content": PROMPT}])
    asked = upstream.calls
    theirs = await post(url, key=other)
    assert upstream.calls == asked  # not asked: what it says is of the failures before
    assert theirs.status_code in {429, 503}
    assert PROMPT not in theirs.text
    assert PROMPT not in (await get(url, "/readyz")).text + logged()
    assert UPSTREAM_KEY not in told.text + theirs.text


async def test_bodies_that_cannot_be_read_are_not_logged(
    start: Start, logged: Any, keys: tuple[Path, str, str]
) -> None:
    path, one, _ = keys
    url = start(UnrulyLlm([answer(200, {})]), llm_keys_file=path)
    headers = {"authorization": f"Bearer {one}"}
    texts = [
        f'{{"messages": "{PROMPT}"}}', f'{{"messages": [{{"content": "{PROMPT}"', PROMPT,
        f'{{"messages": [{{}}], "model": ["{PROMPT}"]}}', f'{{"messages": [{{}}], "stream": "{PROMPT}"}}',
        f'{{"{PROMPT}": 1}}', f'"{PROMPT}"', f'{{"messages": [{{}}], "n": 99, "x": {"[" * 300}"{PROMPT}"{"]" * 300}}}',
    ]  # fmt: skip
    async with httpx.AsyncClient() as http:
        for text in texts:
            assert (await http.post(url + CHAT, content=text.encode(), headers=headers)).status_code == 400
    assert PROMPT not in logged() + (await settled(url)).text


async def test_names_keys_and_paths_that_a_caller_sends_are_not_kept(
    start: Start, logged: Any, keys: tuple[Path, str, str]
) -> None:
    path, one, other = keys
    url = start(UnrulyLlm([answer(200, {})]), llm_keys_file=path)
    wrong = new_key()
    await post(url, key=wrong)
    await post(url, key=one, model=PROMPT)
    await post(url, f"/v1/{PROMPT}?key={one}", key=one)
    await get(url, f"/v1/models/{PROMPT}", one)
    async with httpx.AsyncClient() as http:
        await http.request("PUT", f"{url}{CHAT}?q={PROMPT}", headers={"authorization": one, PROMPT: PROMPT})
    await raw(url, f"{PROMPT} / HTTP/1.1\r\n\r\n".encode())
    seen = logged() + (await settled(url)).text + (await get(url, "/readyz")).text
    assert [secret for secret in (PROMPT, wrong, one, other) if secret in seen] == []


async def test_departures_in_each_phase_log_no_prompt(start: Start, logged: Any) -> None:
    url = start(UnrulyLlm([hang, stream(TALK, ending="hangs"), hang]), llm_max_concurrent_requests=3)
    for is_stream in (True, True, False):
        asking = asyncio.create_task(post(url, stream=is_stream, messages=[{"role": "user", "content": PROMPT}]))
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await settled(url)
    assert PROMPT not in logged()
    assert SAID not in logged()


async def test_settings_and_files_do_not_show_their_keys(start: Start, logged: Any, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(UPSTREAM_KEY)
    with live(UnrulyLlm([quoting(401)])) as address:
        url = start(None, llm_base_url=address + "/v1", llm_upstream_api_key_file=tmp_path / "key")
        told = (await post(url)).text
        (tmp_path / "key").write_text(f"{UPSTREAM_KEY} and more than a key")
        await asyncio.sleep(2.5)
        ready = (await get(url, "/readyz")).text
    assert "LLM_UPSTREAM_API_KEY_FILE" in told
    assert "spaces" in ready
    assert UPSTREAM_KEY not in told + ready + logged()


async def test_a_process_at_debug_level_writes_neither_keys_nor_prompts(
    tmp_path: Path, keys: tuple[Path, str, str]
) -> None:
    path, one, _ = keys
    upstream = UnrulyLlm([quoting(500), stream(TALK, 0.02, event(500)), stream(TALK, ending="dies"), hang])
    with (
        live(upstream) as address,
        gateway(
            tmp_path, llm_base_url=address + "/v1", llm_upstream_api_key=UPSTREAM_KEY, log_level="DEBUG",
            llm_keys_file=path, llm_max_retries=0, llm_total_timeout_s=0.3,
        ) as running,
    ):  # fmt: skip
        for _ in range(4):
            await post(running.url, key=one, stream=True, messages=[{"role": "user", "content": PROMPT}])
        await raw(running.url, request_bytes(PROMPT.encode(), authorization=f"Bearer {one}", connection="close"))
        await raw(running.url, PROMPT.encode() + b"\r\n\r\n")
        await post(running.url, f"/v1/{PROMPT}?key={one}")
        assert await settled(running.url)
    assert running.log.count('"request"') >= 5
    assert all(secret not in running.log for secret in (PROMPT, SAID, UPSTREAM_KEY, one))
