"""Every failure in OpenAI's envelope, and OpenAI's client raising the class that a caller would catch."""

import time
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests.llm_service.conftest import Start
from tests.support.live import free_port
from tests.support.scripted_llm import ScriptedLlm
from tests.support.unruly_llm import END, FIRST, UnrulyLlm, answer, die, hang, stream

HELLO = [{"role": "user", "content": "hello"}]
COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
}


async def post(url: str, **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as http:
        return await http.post(url + "/v1/chat/completions", json={"model": "m", "messages": HELLO, **body})


def error_of(response: httpx.Response) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert isinstance(body["error"]["code"], str | None)
    error: dict[str, Any] = body["error"]
    return error


async def ask(url: str, **options: Any) -> Any:
    client = AsyncOpenAI(base_url=url + "/v1", api_key="k", max_retries=0)
    return await client.chat.completions.create(model="m", messages=HELLO, **options)


async def test_without_settings_it_says_which_two_would_change_it(start: Start) -> None:
    url = start()
    with pytest.raises(openai.InternalServerError) as caught:
        await ask(url)
    assert caught.value.status_code == 503
    async with httpx.AsyncClient() as http:
        ready, models = await http.get(url + "/readyz"), await http.get(url + "/v1/models")
        assert (await http.get(url + "/healthz")).status_code == 200
        one = await http.get(url + "/v1/models/gpt-4o-mini")
    told = [str(caught.value), ready.json()["checks"][0]["detail"], models.json()["message"], error_of(one)["message"]]
    assert all("OPENAI_API_KEY" in text and "LLM_BASE_URL" in text for text in told)
    assert ready.status_code == 503
    assert (models.status_code, models.json()["object"], models.json()["data"]) == (200, "list", [])


async def test_readyz_is_ready_before_a_server_that_answers(start: Start, llm: ScriptedLlm) -> None:
    async with httpx.AsyncClient() as http:
        response = await http.get(start(llm.app()) + "/readyz")
    assert response.status_code == 200
    assert "scripted-model" in response.json()["checks"][1]["detail"]


async def test_readyz_names_the_server_that_is_down(start: Start) -> None:
    down = f"http://127.0.0.1:{free_port()}/v1"
    async with httpx.AsyncClient() as http:
        response = await http.get(start(llm_base_url=down) + "/readyz")
    assert response.status_code == 503
    assert down in response.json()["checks"][1]["detail"]


@pytest.mark.parametrize(
    ("content", "param", "code"),
    [
        (b'{"messages": [', None, None),
        (b"[]", None, None),
        (b"\xff\xfe", None, None),
        (b"{}", "messages", "missing_required_parameter"),
        (b'{"messages": "hello"}', "messages", "invalid_type"),
        (b'{"messages": []}', "messages", "empty_array"),
        (b'{"messages": [{}], "model": 7}', "model", "invalid_type"),
        (b'{"messages": [{}], "stream": "yes"}', "stream", "invalid_type"),
    ],
)
async def test_a_bad_request_is_400_and_never_reaches_the_upstream(
    start: Start, llm: ScriptedLlm, content: bytes, param: str | None, code: str | None
) -> None:
    async with httpx.AsyncClient() as http:
        response = await http.post(start(llm.app()) + "/v1/chat/completions", content=content)
    assert response.status_code == 400
    error = error_of(response)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert llm.requests == []


async def test_an_unknown_route_is_openais_unknown_url(start: Start) -> None:
    async with httpx.AsyncClient() as http:
        response = await http.post(start() + "/v1/engines", json={})
    assert (response.status_code, error_of(response)["code"]) == (404, "unknown_url")


async def test_a_body_over_the_limit_is_413_and_names_the_limit(start: Start, llm: ScriptedLlm) -> None:
    url = start(llm.app(), llm_max_body_bytes=1000)

    async def undeclared() -> Any:
        yield b'{"messages": "' + b"x" * 2000

    async with httpx.AsyncClient() as http:
        for content in (b"x" * 1001, undeclared()):
            response = await http.post(url + "/v1/chat/completions", content=content)
            assert (response.status_code, error_of(response)["code"]) == (413, "request_too_large")
            assert "1000" in error_of(response)["message"]


async def test_a_model_that_is_not_served_is_404(start: Start, llm: ScriptedLlm) -> None:
    client = AsyncOpenAI(base_url=start(llm.app()) + "/v1", api_key="k", max_retries=0)
    with pytest.raises(openai.NotFoundError, match="scripted-model") as caught:
        await client.models.retrieve("gpt-9")
    assert caught.value.code == "model_not_found"


async def test_default_name_before_several_models_asks_for_llm_model(start: Start) -> None:
    upstream = UnrulyLlm([answer(200, COMPLETION)], models=["qwen", "llama"])
    response = await post(start(upstream), model="gpt-4o-mini")
    assert (response.status_code, error_of(response)["code"]) == (404, "model_not_found")
    assert all(word in error_of(response)["message"] for word in ("qwen", "llama", "LLM_MODEL"))
    assert upstream.calls == 0


@pytest.mark.parametrize(
    ("status", "body", "raised", "code"),
    [
        # OpenAI's own
        (400, {"error": {"message": "too long", "type": "invalid_request_error", "param": "messages",
                         "code": "context_length_exceeded"}}, openai.BadRequestError, "context_length_exceeded"),
        # vLLM: an integer code, a type in camel case
        (400, {"error": {"message": "too long", "type": "BadRequestError", "param": None, "code": 400}},
         openai.BadRequestError, None),
        # older vLLM: top-level
        (400, {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400},
         openai.BadRequestError, None),
        # FastAPI's validation
        (422, {"detail": [{"loc": ["body"], "msg": "too long"}]}, openai.UnprocessableEntityError, None),
        (400, b"too long", openai.BadRequestError, None),
        (418, {"error": "too long"}, openai.APIStatusError, None),
        (404, {"error": {"message": "The model `too long` does not exist.", "type": "NotFoundError", "code": 404}},
         openai.NotFoundError, "model_not_found"),
    ],
)  # fmt: skip
async def test_a_refusal_goes_through_in_openais_envelope(
    start: Start, status: int, body: Any, raised: type[openai.APIStatusError], code: str | None
) -> None:
    upstream = UnrulyLlm([answer(status, body)])
    url = start(upstream)
    with pytest.raises(raised, match="too long") as caught:
        await ask(url)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.type == "invalid_request_error"
    assert error_of(caught.value.response)
    assert upstream.calls == 1


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


@pytest.mark.parametrize(("retry_after", "settings"), [("3600", {}), ("2", {"llm_total_timeout_s": 1.0})])
async def test_retry_after_beyond_the_deadline_is_the_callers_to_wait(
    start: Start, retry_after: str, settings: dict[str, Any]
) -> None:
    upstream = UnrulyLlm([answer(429, {"error": {"message": "slow"}}, {"retry-after": retry_after})])
    response = await post(start(upstream, **settings))
    assert (response.status_code, response.headers["retry-after"], upstream.calls) == (429, retry_after, 1)


async def test_an_empty_account_is_not_asked_again(start: Start) -> None:
    upstream = UnrulyLlm([answer(429, {"error": {"message": "pay", "type": "t", "code": "insufficient_quota"}})])
    response = await post(start(upstream))
    assert (response.status_code, error_of(response)["code"], upstream.calls) == (429, "insufficient_quota", 1)


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
    assert time.monotonic() - started < 2
    assert upstream.calls == 1


async def broken_stream(url: str) -> tuple[str, openai.APIError]:
    said = ""
    try:
        async for chunk in await ask(url, stream=True):
            said += chunk.choices[0].delta.content or ""
    except openai.APIError as error:
        return said, error
    raise AssertionError("the client took the broken stream for a whole one")


HALF = b'data: {"id":"c","choices":[{"index":0,"del'


@pytest.mark.parametrize(
    ("play", "settings", "code"),
    [
        (stream(FIRST, ending="dies"), {}, "upstream"),
        (stream(FIRST, HALF, ending="dies"), {}, "upstream"),
        (stream(FIRST, ending="clean"), {}, "upstream"),  # a proxy before the model may end it politely
        (stream(FIRST, ending="hangs"), {"llm_idle_timeout_s": 0.3}, "timeout"),
        (stream(FIRST, 0.2, FIRST, 0.2, FIRST, 0.2, ending="hangs"), {"llm_total_timeout_s": 0.5}, "timeout"),
    ],
)
async def test_a_stream_that_breaks_ends_with_an_error_and_no_done(
    start: Start, play: Any, settings: dict[str, Any], code: str
) -> None:
    url = start(UnrulyLlm([play]), **settings)
    said, error = await broken_stream(url)
    assert said.startswith("a")
    assert error.code == code
    raw = (await post(url, stream=True)).text
    assert "[DONE]" not in raw
    assert HALF.decode() not in raw
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(url + "/metrics")).text
    assert f'llm_requests_total{{backend="default",model="m",outcome="{code}"}} 2.0' in metrics


async def test_a_stream_that_dies_before_its_first_byte_is_tried_again(start: Start) -> None:
    upstream = UnrulyLlm([stream(ending="dies"), stream(ending="clean"), stream(FIRST, END)])
    said = [chunk.choices[0].delta.content async for chunk in await ask(start(upstream), stream=True)]
    assert said == ["a", "a"]
    assert upstream.calls == 3


async def test_a_json_answer_to_a_streamed_request_goes_through_whole(start: Start) -> None:
    response = await post(start(UnrulyLlm([answer(200, COMPLETION)])), stream=True)
    assert response.json() == COMPLETION


async def test_names_that_callers_make_up_do_not_become_labels(start: Start) -> None:
    url = start(UnrulyLlm([answer(404, {"error": {"message": "no such model"}})]))
    for number in range(3):
        await post(url, model=f"made-up-{number}")
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(url + "/metrics")).text
    assert 'llm_requests_total{backend="none",model="other",outcome="not_found"} 3.0' in metrics
    assert "made-up" not in metrics


@pytest.mark.parametrize("play", [answer(200, {"models": []}), answer(200, b"<p>hi</p>"), answer(500, {}), die])
async def test_a_list_of_models_that_cannot_be_read_is_told(start: Start, play: Any) -> None:
    async def upstream(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await play(send)

    url = start(upstream)
    async with httpx.AsyncClient() as http:
        models, ready = await http.get(url + "/v1/models"), await http.get(url + "/readyz")
    assert models.status_code in {502, 503}
    assert error_of(models)["type"] == "server_error"
    assert ready.status_code == 503


async def test_a_server_without_a_list_of_models_is_ready_with_a_hint(start: Start) -> None:
    async def upstream(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answer(404 if scope["method"] == "GET" else 200, COMPLETION)(send)

    url = start(upstream)
    async with httpx.AsyncClient() as http:
        assert (await http.get(url + "/v1/models")).json() == {"object": "list", "data": []}
        ready = await http.get(url + "/readyz")
    assert ready.status_code == 200
    assert "/v1" in ready.json()["checks"][1]["detail"]
    assert (await post(url)).json() == COMPLETION


async def test_an_answer_without_end_is_cut_off_at_a_limit(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_service.providers.openai_compatible.MAX_ANSWER_BYTES", 1000)
    response = await post(start(UnrulyLlm([answer(200, {"choices": ["x" * 2000]})])))
    assert (response.status_code, error_of(response)["code"]) == (502, "upstream")
    assert "1000 bytes" in error_of(response)["message"]
