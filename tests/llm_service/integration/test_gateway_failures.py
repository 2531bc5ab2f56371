"""A backend that fails: what is tried again and waited for, and what clients hear of the rest."""

import time
from typing import Any

import httpx
import openai
import pytest

from llm_service.providers import retries
from tests.llm_service.conftest import Start
from tests.llm_service.wire import COMPLETION, SOON_S, ask, error_of, post
from tests.support.live import free_port
from tests.support.unruly_llm import UnrulyLlm, answer, die, hang, stream


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [{"error": "Unauthorized sk-very-secret"}, {"error": {"message": "sk-very-secret"}}])
async def test_a_refused_key_is_the_operators_502_and_is_not_quoted(start: Start, status: int, body: Any) -> None:
    upstream = UnrulyLlm([answer(status, body)])
    response = await post(start(upstream, llm_upstream_api_key="sk-very-secret"))
    assert response.status_code == 502
    assert "LLM_UPSTREAM_API_KEY" in error_of(response)["message"]
    assert "sk-very-secret" not in response.text
    assert upstream.calls == 1


async def test_a_key_inside_an_upstreams_message_is_struck_out(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    upstream = UnrulyLlm([answer(500, {"error": {"message": "no quota left for sk-very-secret"}})])
    response = await post(start(upstream, llm_upstream_api_key="sk-very-secret"))
    assert "no quota left for ***" in error_of(response)["message"]
    assert "sk-very-secret" not in response.text + caplog.text + "".join(str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("body", [{"detail": "Not Found"}, b"<h1>404</h1>", {"error": {"message": "File Not Found"}}])
async def test_a_wrong_address_is_502_and_hints_at_v1(start: Start, body: Any) -> None:
    response = await post(start(UnrulyLlm([answer(404, body)])))
    assert response.status_code == 502
    assert "/v1" in error_of(response)["message"]


@pytest.mark.parametrize(
    "play", [answer(200, b"<h1>Welcome</h1>"), answer(200, [1]), answer(301, b"", {"location": "/"})]
)
async def test_an_answer_that_is_no_completion_is_502(start: Start, play: Any) -> None:
    response = await post(start(UnrulyLlm([play])))
    assert (response.status_code, error_of(response)["type"]) == (502, "server_error")


async def test_a_server_that_is_down_is_503_with_its_address(start: Start) -> None:
    down = f"http://127.0.0.1:{free_port()}/v1"
    url = start(llm_base_url=down)
    with pytest.raises(openai.InternalServerError, match=down) as caught:
        await ask(url)
    assert caught.value.status_code == 503
    assert caught.value.response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    "passing", [answer(503, {}), answer(500, {}), answer(429, {"error": {"message": "slow"}}), die]
)
async def test_a_failure_that_passes_is_not_seen(start: Start, passing: Any) -> None:
    upstream = UnrulyLlm([passing, passing, answer(200, COMPLETION)])
    url = start(upstream)
    assert (await ask(url)).choices[0].message.content == "hi"
    assert upstream.calls == 3
    async with httpx.AsyncClient() as http:
        assert 'llm_retries_total{backend="default",' in (await http.get(url + "/metrics")).text


async def test_a_retry_after_a_429_is_made_whatever_the_dice_say(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries.random, "random", lambda: 0.0)
    slow = answer(429, {"error": {"message": "slow"}})
    upstream = UnrulyLlm([slow, slow, answer(200, COMPLETION)])
    assert (await ask(start(upstream))).choices[0].message.content == "hi"


@pytest.mark.parametrize(
    ("status", "seen", "raised"),
    [(429, 429, openai.RateLimitError), (500, 502, openai.InternalServerError), (503, 503, openai.InternalServerError)],
)
async def test_a_failure_that_stays_is_told_after_two_retries(
    start: Start, status: int, seen: int, raised: type[openai.APIStatusError]
) -> None:
    upstream = UnrulyLlm([answer(status, {"error": {"message": "busy"}})])
    url = start(upstream)
    with pytest.raises(raised, match="busy") as caught:
        await ask(url)
    assert (caught.value.status_code, upstream.calls) == (seen, 3)


async def test_retry_after_is_waited_for_where_the_deadline_allows(start: Start) -> None:
    upstream = UnrulyLlm([answer(429, {}, {"retry-after": "1"}), answer(200, COMPLETION)])
    started = time.monotonic()
    await ask(start(upstream))
    assert time.monotonic() - started >= 1.0


@pytest.mark.parametrize(("retry_after", "settings"), [("3600", {}), ("15", {"llm_total_timeout_s": 10.0})])
async def test_retry_after_beyond_the_deadline_is_the_callers_to_wait(
    start: Start, retry_after: str, settings: dict[str, Any]
) -> None:
    upstream = UnrulyLlm([answer(429, {"error": {"message": "slow"}}, {"retry-after": retry_after})])
    response = await post(start(upstream, **settings))
    assert (response.status_code, response.headers["retry-after"], upstream.calls) == (429, retry_after, 1)


@pytest.mark.parametrize(
    ("play", "options", "settings"),
    [
        (hang, {}, {"llm_total_timeout_s": 0.3}),
        (hang, {"stream": True}, {"llm_first_token_timeout_s": 0.3}),
        (stream(ending="hangs"), {"stream": True}, {"llm_first_token_timeout_s": 0.3}),  # headers, but no token
    ],
)
async def test_silence_before_the_first_byte_is_504_and_frees_the_upstream(
    start: Start, play: Any, options: dict[str, Any], settings: dict[str, Any]
) -> None:
    upstream = UnrulyLlm([play])
    url = start(upstream, **settings)
    started = time.monotonic()
    response = await post(url, **options)
    assert (response.status_code, error_of(response)["code"]) == (504, "timeout")
    assert time.monotonic() - started < SOON_S
    assert upstream.calls <= 1  # its time may be over before it is asked at all


async def test_a_json_answer_to_a_streamed_request_goes_through_whole(start: Start) -> None:
    response = await post(start(UnrulyLlm([answer(200, COMPLETION)])), stream=True)
    assert response.json() == COMPLETION


async def test_an_answer_without_end_is_cut_off_at_a_limit(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_service.providers.openai_compatible.MAX_ANSWER_BYTES", 1000)
    response = await post(start(UnrulyLlm([answer(200, {"choices": ["x" * 2000]})])))
    assert (response.status_code, error_of(response)["code"]) == (502, "upstream")
    assert "1000 bytes" in error_of(response)["message"]
