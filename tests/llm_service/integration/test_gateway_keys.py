"""Keys of our own over HTTP: who may call, how much, and what becomes of the key."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import openai
import orjson
import pytest

from llm_service.admission.keys import new_key
from llm_service.keys import stanza_of
from tests.llm_service.conftest import Start
from tests.llm_service.wire import (
    CHAT,
    COMPLETION,
    HELLO,
    Noting,
    error_of,
    get,
    post,
    raw_answer,
    request_bytes,
    sdk,
    settled,
    until,
)
from tests.support.unruly_llm import END, FIRST, UnrulyLlm, answer, flood, hang, stream

USAGE = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":0,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2}}\n\n'
)
ROUTES = [CHAT, "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize"]


class Team:
    """A keys file, and the keys that it lets in."""

    def __init__(self, folder: Path):
        self.path = folder / "keys.toml"
        self._stanzas: dict[str, str] = {}
        self.path.write_text("")

    def let_in(self, name: str, requests: int | None = None, tokens: int | None = None) -> str:
        key = new_key()
        self._stanzas[name] = stanza_of(name, key, requests, tokens)
        self._write()
        return key

    def throw_out(self, name: str) -> None:
        del self._stanzas[name]
        self._write()

    def _write(self) -> None:
        self.path.write_text("\n".join(self._stanzas.values()))


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


def plain() -> Noting:
    return Noting(UnrulyLlm([answer(200, COMPLETION)]))


@pytest.mark.parametrize("path", ROUTES)
async def test_without_a_key_or_with_a_wrong_one_nothing_is_forwarded(start: Start, team: Team, path: str) -> None:
    upstream = plain()
    team.let_in("ci")
    url = start(upstream, llm_keys_file=team.path)
    for key in (None, new_key(), "x" * 5000):
        response = await post(url, path, key=key, prompt="a", input="a")
        assert response.status_code == 401
        error = error_of(response)
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
        assert not key or key not in response.text
    assert upstream.heads == []


async def test_the_sdk_raises_authentication_error(start: Start, team: Team) -> None:
    key = team.let_in("ci")
    url = start(plain(), llm_keys_file=team.path)
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key") as caught:
        await sdk(url, "ca-wrong").chat.completions.create(model="m", messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")
    with pytest.raises(openai.AuthenticationError):
        await sdk(url, "ca-wrong").models.list()
    assert (await sdk(url, key).chat.completions.create(model="m", messages=HELLO)).choices[0].message.content == "hi"
    assert [model.id async for model in sdk(url, key).models.list()]


async def test_a_wrong_key_is_told_before_anything_else_is_looked_at(start: Start, team: Team) -> None:
    url = start(plain(), llm_keys_file=team.path)
    status, _, body = await raw_answer(url, request_bytes(b"{nonsense"))
    assert (status, orjson.loads(body)["error"]["code"]) == (401, "invalid_api_key")
    status, _, _ = await raw_answer(url, request_bytes(b"").replace(b"content-length: 0", b"content-length: 5000000"))
    assert status == 401  # without reading the body


async def test_models_and_version_ask_for_a_key_and_the_operators_routes_do_not(start: Start, team: Team) -> None:
    key = team.let_in("ci")
    url = start(plain(), llm_keys_file=team.path)
    for path in ("/v1/models", "/v1/models/m", "/version"):
        refused = await get(url, path)
        assert (refused.status_code, error_of(refused)["code"]) == (401, "invalid_api_key")
        assert (await get(url, path, key)).status_code != 401
    for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"):
        assert (await get(url, path)).status_code == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(start: Start, team: Team, scheme: str) -> None:
    key = team.let_in("ci")
    url = start(plain(), llm_keys_file=team.path)
    async with httpx.AsyncClient() as http:
        body = {"model": "m", "messages": HELLO}
        answers = [
            (await http.post(url + CHAT, json=body, headers={"authorization": f"{word} {key}"})).status_code
            for word in (scheme, "Basic", key)
        ]
    assert answers == [200, 401, 401]


async def test_requests_a_minute_are_refused_above_the_keys_limit_and_other_keys_are_served(
    start: Start, team: Team
) -> None:
    narrow, wide = team.let_in("narrow", requests=2), team.let_in("wide")
    url = start(plain(), llm_keys_file=team.path)
    for _ in range(2):
        assert (await post(url, key=narrow)).status_code == 200
    with pytest.raises(openai.RateLimitError, match=r"on requests per min \(RPM\): Limit 2") as caught:
        await sdk(url, narrow).chat.completions.create(model="m", messages=HELLO)
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "requests")
    assert 10 <= int(caught.value.response.headers["retry-after"]) <= 31
    assert (await post(url, key=wide)).status_code == 200


async def test_a_plain_answers_tokens_are_taken_off_the_key(start: Start, team: Team) -> None:
    key = team.let_in("ci", tokens=10)
    url = start(plain(), llm_keys_file=team.path)
    assert [(await post(url, key=key)).status_code for _ in range(3)] == [200, 200, 429]  # 9 tokens each
    with pytest.raises(openai.RateLimitError, match=r"on tokens per min \(TPM\): Limit 10") as caught:
        await sdk(url, key).chat.completions.create(model="m", messages=HELLO)
    assert 25 <= int(caught.value.response.headers["retry-after"]) <= 60  # 18 were taken, at 10 a minute: 48 s


async def test_a_streams_tokens_are_taken_off_though_the_client_did_not_ask_for_counts(
    start: Start, team: Team
) -> None:
    key = team.let_in("ci", tokens=10)
    url = start(UnrulyLlm([stream(FIRST, END.replace(b"data: [DONE]", USAGE + b"data: [DONE]"))]),
                llm_keys_file=team.path)  # fmt: skip
    async with httpx.AsyncClient() as http:
        headers = {"authorization": f"Bearer {key}"}
        for expected in (200, 200, 429):
            body = {"model": "m", "messages": HELLO, "stream": True}
            response = await http.post(url + CHAT, json=body, headers=headers)
            assert response.status_code == expected
            assert b"usage" not in response.content
            await settled(url)


async def _leave(url: str, key: str, came: Any, **body: Any) -> None:
    """Ask, and leave once `came()`."""
    asking = asyncio.create_task(post(url, key=key, **body))
    await until(came, what="the request at the upstream")
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_who_leaves_a_stream_early_has_used_what_had_come(start: Start, team: Team) -> None:
    key = team.let_in("ci", tokens=60)
    upstream = UnrulyLlm([stream(*[part for _ in range(40) for part in (FIRST, 0.005)], ending="hangs")])
    url = start(upstream, llm_keys_file=team.path)
    async with httpx.AsyncClient() as http:
        body = {"model": "m", "messages": HELLO, "stream": True}
        for _ in range(2):  # 40 pieces each, and some for the question
            async with http.stream("POST", url + CHAT, json=body, headers={"authorization": f"Bearer {key}"}) as got:
                assert got.status_code == 200
                seen = b""
                async for chunk in got.aiter_raw():
                    seen += chunk
                    if seen.count(b"data:") == 40:
                        break
            await until(lambda: upstream.active == 0)
    await settled(url)
    assert (await post(url, key=key)).status_code == 429


async def test_pieces_that_come_many_at_a_time_are_counted_each(start: Start, team: Team) -> None:
    """A flood is read in blocks: found here, a block counted as one token, so that leaving early was nearly free."""
    key = team.let_in("ci", tokens=2_000)
    upstream = UnrulyLlm([flood, answer(200, COMPLETION)])
    url = start(upstream, llm_keys_file=team.path)
    body = {"model": "m", "messages": HELLO, "stream": True}
    headers, taken = {"authorization": f"Bearer {key}"}, 0
    async with httpx.AsyncClient() as http, http.stream("POST", url + CHAT, json=body, headers=headers) as got:
        async for chunk in got.aiter_raw():
            taken += len(chunk)
            if taken > 3_000 * len(FIRST):
                break
    await until(lambda: upstream.active == 0)
    await settled(url)
    refused = await post(url, key=key)
    assert (refused.status_code, error_of(refused)["type"]) == (429, "tokens")


@pytest.mark.parametrize("is_stream", [False, True])
async def test_who_leaves_before_the_answer_has_used_the_question(start: Start, team: Team, is_stream: bool) -> None:
    """The backend has read it, or is about to: found here, such requests took no tokens off the key."""
    key = team.let_in("ci", tokens=100)
    upstream = UnrulyLlm([hang, answer(200, COMPLETION)])
    url = start(upstream, llm_keys_file=team.path)
    await _leave(url, key, lambda: upstream.active == 1, stream=is_stream, user="x" * 4_000)
    await settled(url)
    refused = await post(url, key=key)
    assert (refused.status_code, error_of(refused)["type"]) == (429, "tokens")


async def test_a_request_that_a_backend_refuses_takes_no_tokens(start: Start, team: Team) -> None:
    key = team.let_in("ci", tokens=10)
    url = start(UnrulyLlm([answer(400, {"error": {"message": "no"}})]), llm_keys_file=team.path)
    assert [(await post(url, key=key, user="x" * 4_000)).status_code for _ in range(3)] == [400, 400, 400]


async def test_a_key_that_is_removed_from_the_file_is_refused_and_a_new_one_let_in(start: Start, team: Team) -> None:
    going, staying = team.let_in("going"), team.let_in("staying")
    url = start(plain(), llm_keys_file=team.path)
    assert (await post(url, key=going)).status_code == 200
    team.throw_out("going")
    coming = team.let_in("coming")

    async def is_reloaded() -> bool:
        return (await post(url, key=going)).status_code == 401

    await until(is_reloaded, what="the reload")
    assert [(await post(url, key=key)).status_code for key in (staying, coming)] == [200, 200]


async def test_a_bad_keys_file_keeps_the_old_keys_and_readyz_says_so_without_quoting_it(
    start: Start, team: Team
) -> None:
    key = team.let_in("ci")
    url = start(plain(), llm_keys_file=team.path)
    spilt = new_key()
    team.path.write_text(f'[[key]]\nname = "ci"\nsha256 = "{spilt}"\n')

    async def is_told() -> bool:
        return "LLM_KEYS_FILE" in (await get(url, "/readyz")).text

    await until(is_told, what="the problem in /readyz")
    ready = await get(url, "/readyz")
    assert ready.status_code == 200
    assert spilt not in ready.text
    assert (await post(url, key=key)).status_code == 200
    assert (await post(url, key=spilt)).status_code == 401


async def test_the_callers_key_never_goes_upstream(start: Start, team: Team) -> None:
    key = team.let_in("ci")
    for own in (None, "sk-of-the-backend"):
        upstream = plain()
        url = start(upstream, llm_keys_file=team.path, llm_upstream_api_key=own)
        async with httpx.AsyncClient() as http:
            told = {"authorization": f"Bearer {key}", "x-api-key": key, "api-key": key, "cookie": key, "referer": key}
            for path in ROUTES:
                sent = {"model": "m", "messages": HELLO, "prompt": "a", "input": "a"}
                response = await http.post(f"{url}{path}?key={key}", json=sent, headers=told)
                assert response.status_code == 200
            await http.get(url + "/v1/models", headers=told)
        assert all(key not in head for head in upstream.heads)
        assert {headers.get("authorization") for headers in upstream.headers} == {own and f"Bearer {own}"}
