"""Requests that are refused, by the gateway or by a backend: OpenAI's client raises what a caller would catch."""

from typing import Any

import httpx
import openai
import pytest

from tests.llm_service.conftest import Start
from tests.llm_service.wire import ask, error_of, post
from tests.support.scripted_llm import ScriptedLlm
from tests.support.unruly_llm import UnrulyLlm, answer


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


async def test_an_empty_account_is_not_asked_again(start: Start) -> None:
    upstream = UnrulyLlm([answer(429, {"error": {"message": "pay", "type": "t", "code": "insufficient_quota"}})])
    response = await post(start(upstream))
    assert (response.status_code, error_of(response)["code"], upstream.calls) == (429, "insufficient_quota", 1)
